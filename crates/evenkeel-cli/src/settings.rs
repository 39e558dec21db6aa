//! What `--set KEY=VALUE` and the `[set]` section of a scenario can change: one table, from which the help, the
//! errors with their hints and `docs/settings.md` are made.
//!
//! A setting changes the kernel (tunables, features, constants of its domains) or how the machine around it is
//! simulated (delays, costs, ticks). `migration_cost_ns=0` makes no task cache hot; `features.NI_RANDOM=off` always
//! attempts new-idle balancing; `delay.resched_ipi=5us` makes interrupts slow.
//!
//! Left out: tunables whose mechanism is not modelled, so that nothing can be set without effect.
use anyhow::{Result, anyhow};
use evenkeel::cost::CostModel;
use evenkeel::kernel::{CfsTunables, Features, Kernel, LlcBalancingTunables, TunableScaling};
use evenkeel::time::{Ns, SEC, US};
use evenkeel_formats::diagnostic::near_match;
use evenkeel_formats::scenario::parse_duration;
use evenkeel_sim::{SimParams, StopTick};

/// What settings change.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// The simulated surroundings.
    pub(crate) params: SimParams,
    /// Online CPUs of the machine: slices grow with them.
    pub(crate) cpus: u32,
}

type Apply = fn(&mut Setup, &str) -> Result<(), String>;

/// One setting.
pub(crate) struct Setting {
    /// How it is called.
    pub(crate) key: &'static str,
    /// What values look like.
    pub(crate) value: &'static str,
    /// What it does, a sentence without a full stop.
    pub(crate) help: &'static str,
    apply: Apply,
}

const fn setting(key: &'static str, value: &'static str, help: &'static str, apply: Apply) -> Setting {
    Setting { key, value, help, apply }
}

/// All settings but the features, by subject.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    setting("migration_cost_ns", "TIME | -1", "a task that ran less than this ago is cache hot; -1: always", |s, v| {
        s.kernel.tunables.migration_cost_ns = if v == "-1" { u32::MAX } else { up_to(time(v)?, 2 * SEC)? as u32 };
        Ok(())
    }),
    setting("nr_migrate", "N", "tasks looked at in one balancing pass", |s, v| {
        s.kernel.tunables.nr_migrate = number(v, 1, 1 << 20)? as u32;
        Ok(())
    }),
    setting("nr_migrate_break", "N", "tasks looked at between two releases of the queue's lock", |s, v| {
        s.kernel.tunables.nr_migrate_break = number(v, 1, 1 << 20)? as u32;
        Ok(())
    }),
    setting("base_slice_ns", "TIME", "slice of a task, as debugfs shows it on a machine of this size", |s, v| {
        if s.kernel.tunables.cfs.is_some() {
            return Err(format!("{} has no base_slice_ns; it has min_granularity_ns", s.kernel.build));
        }
        s.kernel.tunables.base_slice_normalized_ns = normalized(s, v)?;
        Ok(())
    }),
    setting("latency_ns", "TIME", "classic CFS: the time in which every task should run once", |s, v| {
        let time = normalized(s, v)?;
        cfs(s)?.latency_normalized_ns = time;
        Ok(())
    }),
    setting("min_granularity_ns", "TIME", "classic CFS: the shortest slice", |s, v| {
        let time = normalized(s, v)?;
        cfs(s)?.min_granularity_normalized_ns = time;
        Ok(())
    }),
    setting("wakeup_granularity_ns", "TIME", "classic CFS: how far behind a wakee must be to preempt", |s, v| {
        let time = normalized(s, v)?;
        cfs(s)?.wakeup_granularity_normalized_ns = time;
        Ok(())
    }),
    setting("idle_min_granularity_ns", "TIME", "classic CFS: the shortest slice of idle-policy tasks among others; not scaled", |s, v| {
        let time = up_to(time(v)?, SEC)?;
        let build = s.kernel.build;
        match &mut cfs(s)?.idle_min_granularity_ns {
            Some(floor) if time >= 100_000 => *floor = time,
            Some(_) => return Err(String::from("expected at least 100us")),
            None => return Err(format!("{build} does not have it")),
        }
        Ok(())
    }),
    setting("child_runs_first", "on | off", "classic CFS: a new task runs before its creator", |s, v| {
        cfs(s)?.child_runs_first = switch(v)?;
        Ok(())
    }),
    setting("tunable_scaling", "none | log | linear", "how slices grow with the number of CPUs", |s, v| {
        s.kernel.tunables.scaling = match v {
            "none" => TunableScaling::None,
            "log" => TunableScaling::Log,
            "linear" => TunableScaling::Linear,
            _ => return Err(String::from("expected none, log or linear")),
        };
        Ok(())
    }),
    setting("cfs_bandwidth_slice_us", "N", "what a CPU draws at a time from a group's limit of CPU time, microseconds", |s, v| {
        s.kernel.tunables.cfs_bandwidth_slice_ns = number(v, 1, 1_000_000)? * US;
        Ok(())
    }),
    setting("clock_skip", "on | off", "after a preempting wake-up, interrupt delay is charged to who comes, as kernels do", |s, v| {
        s.kernel.queues.skips_clock_updates = switch(v)?;
        Ok(())
    }),
    setting("hz", "100 | 250 | 300 | 1000", "ticks a second", |s, v| {
        let hz = number(v, 100, 1000)? as u32;
        if ![100, 250, 300, 1000].contains(&hz) {
            return Err(String::from("expected 100, 250, 300 or 1000"));
        }
        s.kernel.hz = hz;
        Ok(())
    }),
    setting("rt_period_ns", "TIME", "kernels up to v6.1: period of the limit of real-time tasks", |s, v| {
        s.kernel.tunables.guard.rt_period_ns = at_least(up_to(time(v)?, 3600 * SEC)?, SEC / 1000)?;
        Ok(())
    }),
    setting("rt_runtime_ns", "TIME | -1", "kernels up to v6.1: what real-time tasks may have of it; -1 or all of it: no limit", |s, v| {
        s.kernel.tunables.guard.rt_runtime_ns = if v == "-1" { 3600 * SEC } else { up_to(time(v)?, 3600 * SEC)? };
        Ok(())
    }),
    setting("fair_server.period_ns", "TIME", "kernels from v6.12 on: period of the server that runs fair tasks beside urgent ones", |s, v| {
        s.kernel.tunables.guard.fair_server_period_ns = at_least(up_to(time(v)?, 3600 * SEC)?, SEC / 1000)?;
        Ok(())
    }),
    setting("fair_server.runtime_ns", "TIME", "kernels from v6.12 on: what fair tasks have of it; 0: there is no server", |s, v| {
        s.kernel.tunables.guard.fair_server_runtime_ns = up_to(time(v)?, 3600 * SEC)?;
        Ok(())
    }),
    setting("irq_time_accounting", "on | off", "a kernel that takes the time of interrupts off tasks' time and CPUs' capacity", |s, v| {
        s.kernel.queues.irq_time_accounting = switch(v)?;
        Ok(())
    }),
    setting("preemption", "on | off", "a kernel that can be preempted: a new-idle pass moves one task and no more", |s, v| {
        s.kernel.balance.preemption = switch(v)?;
        Ok(())
    }),
    setting("balance.imbalance_pct.smt", "N", "between threads of a core: imbalances up to N-100 % are tolerated", |s, v| {
        s.kernel.topology.imbalance_pct_smt = number(v, 100, 1000)? as u32;
        Ok(())
    }),
    setting("balance.imbalance_pct.llc", "N", "the same within a last-level cache", |s, v| {
        s.kernel.topology.imbalance_pct_llc = number(v, 100, 1000)? as u32;
        Ok(())
    }),
    setting("balance.imbalance_pct.other", "N", "the same above the cache", |s, v| {
        s.kernel.topology.imbalance_pct_other = number(v, 100, 1000)? as u32;
        Ok(())
    }),
    setting("balance.busy_factor", "N", "busy CPUs balance this many times less often", |s, v| {
        s.kernel.topology.busy_factor = number(v, 1, 1000)? as u32;
        Ok(())
    }),
    setting("llc_balancing.enabled", "on | off", "v7.2: threads of one process are gathered in one last-level cache", |s, v| {
        let on = switch(v)?;
        llc_balancing(s)?.enabled = on;
        Ok(())
    }),
    setting("llc_balancing.aggr_tolerance", "N", "how many threads may gather: 0 none, 1 as many as fit, more accordingly, 100 all", |s, v| {
        let steps = number(v, 0, 100)? as u32;
        llc_balancing(s)?.aggr_tolerance = steps;
        Ok(())
    }),
    setting("llc_balancing.epoch_period", "N", "ticks after which what a process ran counts half", |s, v| {
        let ticks = number(v, 1, 1000)? as u32;
        llc_balancing(s)?.epoch_period = ticks;
        Ok(())
    }),
    setting("llc_balancing.epoch_affinity_timeout", "N", "such periods after which a process that did not run has no preference", |s, v| {
        let periods = number(v, 0, 1 << 20)? as u32;
        llc_balancing(s)?.epoch_affinity_timeout = periods;
        Ok(())
    }),
    setting("llc_balancing.overaggr_pct", "N", "a cache takes threads below this share of its capacity in percent, half as much again without SMT", |s, v| {
        let percent = number(v, 0, 100)? as u32;
        llc_balancing(s)?.overaggr_pct = percent;
        Ok(())
    }),
    setting("llc_balancing.imb_pct", "N", "gathering may make a cache this much busier than another, percent", |s, v| {
        let percent = number(v, 0, 100)? as u32;
        llc_balancing(s)?.imb_pct = percent;
        Ok(())
    }),
    setting("delay.resched_ipi", "TIME", "reschedule interrupt to another CPU", |s, v| {
        s.params.delays.resched_ipi = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.call_ipi", "TIME", "function-call interrupt to another CPU (remote wake-ups, idle kicks)", |s, v| {
        s.params.delays.call_ipi = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.tick", "TIME", "from the tick to the end of its interrupt, where reschedules and softirqs follow", |s, v| {
        s.params.delays.tick = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.softirq", "TIME", "from the end of the interrupt that raised it to the balancing softirq", |s, v| {
        s.params.delays.softirq = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.hrtick", "TIME", "how late the timer of the feature HRTICK ends a slice", |s, v| {
        s.params.delays.hrtick = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.stopper", "TIME", "from waking the stopper thread until it pushes a task", |s, v| {
        s.params.delays.stopper = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("delay.idle_entry", "TIME", "from switching to idle until the tick stops", |s, v| {
        s.params.delays.idle_entry = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("cost", "zero | server", "what balancing costs the CPU that does it: nothing, or round figures for a server", |s, v| {
        s.params.cost = match v {
            "zero" => CostModel::ZERO,
            "server" => CostModel::SERVER,
            _ => return Err(String::from("expected zero or server")),
        };
        Ok(())
    }),
    setting("cost.pass", "TIME", "of entering a pass", |s, v| { s.params.cost.pass = up_to(time(v)?, SEC)?; Ok(()) }),
    setting("cost.cpu", "TIME", "of reading the statistics of a CPU", |s, v| { s.params.cost.cpu = up_to(time(v)?, SEC)?; Ok(()) }),
    setting("cost.task", "TIME", "of looking at a task", |s, v| { s.params.cost.task = up_to(time(v)?, SEC)?; Ok(()) }),
    setting("cost.scan", "TIME", "of looking at a CPU in the search of a wake-up (kernels that limit it by idle time)", |s, v| { s.params.cost.scan = up_to(time(v)?, SEC)?; Ok(()) }),
    setting("cost.migration", "TIME", "of moving a task", |s, v| { s.params.cost.migration = up_to(time(v)?, SEC)?; Ok(()) }),
    setting("cost.blocked_update", "TIME", "of refreshing the load of an idle CPU", |s, v| {
        s.params.cost.blocked_update = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("stop_tick", "at-once | after-tick | never", "when an idle CPU stops its tick", |s, v| {
        s.params.stop_tick = match v {
            "at-once" => StopTick::AtOnce,
            "after-tick" => StopTick::AfterIdleTick,
            "never" => StopTick::Never,
            _ => return Err(String::from("expected at-once, after-tick or never")),
        };
        Ok(())
    }),
    setting("skew_tick", "on | off", "ticks of different CPUs are spread over half a tick", |s, v| {
        s.params.skew_tick = switch(v)?;
        Ok(())
    }),
    setting("tick_jitter", "TIME", "each tick comes up to this much late, by dice, as on virtual machines", |s, v| {
        s.params.tick_jitter = up_to(time(v)?, SEC / 1000)?;
        Ok(())
    }),
    setting("switch_cost", "TIME", "CPU time that switching to a task costs", |s, v| {
        s.params.switch_cost = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("fork_cost", "TIME", "CPU time that each fork at the start of the workload costs", |s, v| {
        s.params.fork_cost = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("start_jitter", "TIME", "each task starts up to this much later, by dice", |s, v| {
        s.params.start_jitter = up_to(time(v)?, 3600 * SEC)?;
        Ok(())
    }),
    setting("timer_slack", "TIME", "how late timers of tasks expire", |s, v| {
        s.params.timer_slack = up_to(time(v)?, SEC)?;
        Ok(())
    }),
    setting("background", "on | off", "the kernel threads that every machine runs beside the workload; on by default", |s, v| {
        s.params.background = switch(v)?;
        Ok(())
    }),
    setting("fresh_boot", "on | off", "a machine just booted rather than one that was up and idle", |s, v| {
        s.params.fresh_boot = switch(v)?;
        Ok(())
    }),
    setting("tasks_max", "N", "how many tasks may be created in all", |s, v| {
        s.params.tasks_max = number(v, 1, 1 << 24)? as usize;
        Ok(())
    }),
];

/// Features that the model consults; the others exist in kernels but change nothing here.
pub(crate) const FEATURES: Features = Features::PLACE_LAG
    .union(Features::PLACE_DEADLINE_INITIAL)
    .union(Features::PLACE_REL_DEADLINE)
    .union(Features::RUN_TO_PARITY)
    .union(Features::PREEMPT_SHORT)
    .union(Features::NEXT_BUDDY)
    .union(Features::PICK_BUDDY)
    .union(Features::CACHE_HOT_BUDDY)
    .union(Features::DELAY_DEQUEUE)
    .union(Features::DELAY_ZERO)
    .union(Features::WAKEUP_PREEMPTION)
    .union(Features::TTWU_QUEUE)
    .union(Features::NI_RATE)
    .union(Features::LB_BIAS)
    .union(Features::SIS_PROP)
    .union(Features::SIS_UTIL)
    .union(Features::WA_IDLE)
    .union(Features::WA_WEIGHT)
    .union(Features::WA_BIAS)
    .union(Features::UTIL_EST)
    .union(Features::LB_MIN)
    .union(Features::NI_RANDOM)
    .union(Features::HRTICK)
    .union(Features::GENTLE_FAIR_SLEEPERS)
    .union(Features::START_DEBIT)
    .union(Features::LAST_BUDDY)
    .union(Features::ALT_PERIOD)
    .union(Features::BASE_SLICE)
    .union(Features::UTIL_EST_FASTUP)
    .union(Features::RT_RUNTIME_SHARE)
    .union(Features::NONTASK_CAPACITY)
    .union(Features::ATTACH_AGE_LOAD);

const FEATURE_PREFIX: &str = "features.";

/// Changes one thing; the error says what would be right.
pub(crate) fn apply(setup: &mut Setup, key: &str, value: &str) -> Result<()> {
    let value = value.trim();
    if let Some(name) = key.strip_prefix(FEATURE_PREFIX) {
        return feature(&mut setup.kernel, name, value).map_err(|what| anyhow!("{key}={value}: {what}"));
    }
    match SETTINGS.iter().find(|setting| setting.key == key) {
        Some(setting) => (setting.apply)(setup, value).map_err(|what| anyhow!("{key}={value}: {what}")),
        None => Err(anyhow!("`{key}` is not a setting{}", hint(key))),
    }
}

fn hint(key: &str) -> String {
    let features: Vec<String> =
        FEATURES.iter_names().map(|(name, _)| format!("{FEATURE_PREFIX}{name}")).collect();
    let keys = SETTINGS.iter().map(|setting| setting.key).chain(features.iter().map(String::as_str));
    // `NI_RANDOM` alone is a likely mistake that is too far from the full name.
    let near = features.iter().find(|name| name[FEATURE_PREFIX.len()..].eq_ignore_ascii_case(key));
    match near.map(String::as_str).or_else(|| near_match(key, keys)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::from("; `evenkeel run --help` lists them"),
    }
}

fn feature(kernel: &mut Kernel, name: &str, value: &str) -> Result<(), String> {
    let on = switch(value)?;
    let Some(feature) = Features::from_name(name) else {
        let near = near_match(name, FEATURES.iter_names().map(|(name, _)| name));
        return Err(match near {
            Some(near) => format!("there is no such feature; did you mean `{FEATURE_PREFIX}{near}`?"),
            None => String::from("there is no such feature"),
        });
    };
    if !kernel.features_known.contains(feature) {
        return Err(format!("{} does not have this feature", kernel.build));
    }
    if !FEATURES.contains(feature) || kernel.features_refused().contains(feature) {
        return Err(String::from("what this feature switches is not modelled"));
    }
    kernel.features.set(feature, on);
    Ok(())
}

/// A duration, or a bare number of nanoseconds.
fn time(text: &str) -> Result<Ns, String> {
    let bare = || text.parse::<Ns>().ok();
    parse_duration(text).or_else(bare).ok_or_else(|| String::from("expected a time such as 500us or 1.5ms"))
}

fn up_to(value: Ns, max: Ns) -> Result<Ns, String> {
    if value > max {
        return Err(format!("expected at most {}", evenkeel_report::units::exact_duration(max)));
    }
    Ok(value)
}

fn at_least(value: Ns, min: Ns) -> Result<Ns, String> {
    if value < min {
        return Err(format!("expected at least {}", evenkeel_report::units::exact_duration(min)));
    }
    Ok(value)
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {min} to {max}"))
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err(String::from("expected on or off")),
    }
}

/// A slice as a running kernel shows it, without the factor that the number of CPUs brings in.
fn normalized(setup: &Setup, value: &str) -> Result<Ns, String> {
    let time = up_to(time(value)?, SEC)?;
    let normalized = time / u64::from(setup.kernel.tunables.scaling.factor(setup.cpus));
    // The kernels refuse less than this as well (spec 2 §2.5).
    if time < 100_000 { Err(String::from("expected at least 100us")) } else { Ok(normalized) }
}

fn llc_balancing(setup: &mut Setup) -> Result<&mut LlcBalancingTunables, String> {
    let build = setup.kernel.build;
    let missing = || format!("{build} does not gather threads; only v7.2 has llc_balancing");
    setup.kernel.tunables.llc_balancing.as_mut().ok_or_else(missing)
}

fn cfs(setup: &mut Setup) -> Result<&mut CfsTunables, String> {
    let build = setup.kernel.build;
    setup
        .kernel
        .tunables
        .cfs
        .as_mut()
        .ok_or_else(|| format!("{build} has deadlines instead; see base_slice_ns"))
}

/// The table as the long help shows it.
pub(crate) fn help() -> String {
    let entry = |key: &str, value: &str, help: &str| format!("  {key}={value}\n        {help}\n");
    let mut text =
        String::from("Settings (--set KEY=VALUE; TIME is 500us, 1.5ms, or a number of nanoseconds):\n");
    for setting in SETTINGS {
        text.push_str(&entry(setting.key, setting.value, setting.help));
    }
    let features: Vec<&str> = FEATURES.iter_names().map(|(name, _)| name).collect();
    let names = evenkeel_report::table::wrap(&format!("        {}", features.join(" ")), 90, "        ");
    text.push_str(&entry("features.NAME", "on | off", "a sched_feature; NAME is one of"));
    text + &names
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::kernels;
    use expect_test::expect_file;

    fn setup(build: &str, cpus: u32) -> Setup {
        Setup { kernel: *kernels::find(build).unwrap(), params: SimParams::default(), cpus }
    }

    fn error(build: &str, key: &str, value: &str) -> String {
        apply(&mut setup(build, 8), key, value).unwrap_err().to_string()
    }

    #[test]
    fn settings_reach_what_they_name() {
        let mut s = setup("v6.12", 8);
        for (key, value) in [
            ("migration_cost_ns", "-1"),
            ("base_slice_ns", "4ms"),
            ("features.NI_RANDOM", "off"),
            ("features.NEXT_BUDDY", "on"),
            ("balance.imbalance_pct.llc", "110"),
            ("delay.resched_ipi", "5us"),
            ("cost", "zero"),
            ("cost.pass", "300"),
            ("stop_tick", "never"),
        ] {
            apply(&mut s, key, value).unwrap();
        }
        assert_eq!(s.kernel.tunables.migration_cost_ns, u32::MAX);
        // Eight CPUs: factor 1 + log2(8) = 4 (spec 2 §2.5).
        assert_eq!(s.kernel.tunables.base_slice_normalized_ns, 1_000_000);
        assert!(!s.kernel.features.contains(Features::NI_RANDOM));
        assert!(s.kernel.features.contains(Features::NEXT_BUDDY));
        assert_eq!(s.kernel.topology.imbalance_pct_llc, 110);
        assert_eq!(s.params.delays.resched_ipi, 5_000);
        assert_eq!(s.params.cost, CostModel { pass: 300, ..CostModel::ZERO });
        assert_eq!(s.params.stop_tick, StopTick::Never);
        let mut s = setup("v7.2", 8);
        for (number, name) in
            ["aggr_tolerance", "epoch_period", "epoch_affinity_timeout", "overaggr_pct", "imb_pct"]
                .into_iter()
                .enumerate()
        {
            apply(&mut s, &format!("llc_balancing.{name}"), &(number + 3).to_string()).unwrap();
        }
        apply(&mut s, "llc_balancing.enabled", "off").unwrap();
        let expected = LlcBalancingTunables {
            enabled: false,
            aggr_tolerance: 3,
            epoch_period: 4,
            epoch_affinity_timeout: 5,
            overaggr_pct: 6,
            imb_pct: 7,
        };
        assert_eq!(s.kernel.tunables.llc_balancing, Some(expected));
    }

    #[test]
    fn every_setting_refuses_nonsense_and_says_what_is_right() {
        for setting in SETTINGS {
            let text = error("v6.12", setting.key, "nonsense");
            assert!(text.contains("expected") || text.contains("v6.12.117 has"), "{text}");
        }
    }

    #[test]
    fn errors_have_a_hint() {
        assert_eq!(
            error("v6.12", "migration_cost", "1"),
            "`migration_cost` is not a setting; did you mean `migration_cost_ns`?"
        );
        assert_eq!(
            error("v6.12", "NI_RANDOM", "off"),
            "`NI_RANDOM` is not a setting; did you mean `features.NI_RANDOM`?"
        );
        assert_eq!(
            error("v6.12", "features.NI_RANDM", "off"),
            "features.NI_RANDM=off: there is no such feature; did you mean `features.NI_RANDOM`?"
        );
        assert_eq!(
            error("v6.12", "features.LB_BIAS", "on"),
            "features.LB_BIAS=on: v6.12.117 does not have this feature"
        );
        assert_eq!(
            error("v6.12", "features.RT_PUSH_IPI", "on"),
            "features.RT_PUSH_IPI=on: what this feature switches is not modelled"
        );
        assert_eq!(
            error("v6.12", "latency_ns", "6ms"),
            "latency_ns=6ms: v6.12.117 has deadlines instead; see base_slice_ns"
        );
        assert_eq!(
            error("v6.12", "llc_balancing.enabled", "off"),
            "llc_balancing.enabled=off: v6.12.117 does not gather threads; only v7.2 has llc_balancing"
        );
        assert_eq!(error("v6.12", "delay.softirq", "2s"), "delay.softirq=2s: expected at most 1s");
    }

    #[test]
    fn the_document_lists_every_setting() {
        let mut text = String::from(
            "# Settings\n\nWhat `evenkeel run --set KEY=VALUE` and the `[set]` section of a scenario can change. TIME is \
             `500us`, `1.5ms`,\nor a number of nanoseconds. Generated from the table in \
             `crates/evenkeel-cli/src/settings.rs`.\n\n| key | value | effect |\n|---|---|---|\n",
        );
        for Setting { key, value, help, .. } in SETTINGS {
            text.push_str(&format!("| `{key}` | {} | {help} |\n", value.replace('|', "or")));
        }
        for (name, feature) in FEATURES.iter_names() {
            let of = kernels::ALL.iter().filter(|kernel| kernel.features_known.contains(feature));
            let with: Vec<&str> = of.clone().map(|kernel| kernel.alias).collect();
            let on: Vec<&str> =
                of.filter(|kernel| kernel.features.contains(feature)).map(|k| k.alias).collect();
            let list =
                |names: &[&str]| if names.is_empty() { String::from("none") } else { names.join(", ") };
            let help = format!("a sched_feature of {}; by default on in {}", list(&with), list(&on));
            text.push_str(&format!("| `features.{name}` | on or off | {help} |\n"));
        }
        expect_file!["../../../docs/settings.md"].assert_eq(&text);
    }

    /// A feature that nothing looks at would be a setting without effect.
    #[test]
    fn features_are_those_that_the_scheduler_looks_at() {
        fn sources(directory: &std::path::Path, text: &mut String) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && name != "kernels" {
                    sources(&path, text);
                } else if name.ends_with(".rs") && name != "kernel.rs" && !name.contains("tests") {
                    text.push_str(&std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut text = String::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../evenkeel/src"), &mut text);
        let words: std::collections::BTreeSet<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for (name, feature) in Features::all().iter_names() {
            assert_eq!(
                FEATURES.contains(feature),
                words.contains(name),
                "{name}: FEATURES against the sources"
            );
        }
    }

    #[test]
    fn keys_are_unique() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[index + 1..].iter().all(|other| other.key != setting.key), "{}", setting.key);
        }
    }
}
