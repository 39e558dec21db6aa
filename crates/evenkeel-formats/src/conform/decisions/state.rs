//! The state at the beginning of a search, rebuilt from a record, and the search itself.
use super::{Check, Checked, Inferred};
use crate::recording::decisions::{Attempt, LbRecord, RecordedStats, parse_mask};
use evenkeel::balance::env::{FbqType, IdleType, MigrationType};
use evenkeel::balance::rules::{BalanceRules, EnergyAware, FairTasks, StandIns};
use evenkeel::balance::stats::{Search, SgStats};
use evenkeel::balance::view::CpuRow;
use evenkeel::cache_aware::{Gathering, sched_cache_enabled};
use evenkeel::ids::{CpuId, DomainId, GroupId};
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Domains, SdFlags};

/// How many choices of CPUs that are switching are tried before it is given up to tell whose turn it is.
const TRIES_MAX: u32 = 5000;

/// The CPUs' numbers, the candidates and the level.
#[derive(Clone)]
pub(super) struct State<'a> {
    /// How the kernel balances.
    pub(super) rules: &'a BalanceRules,
    /// How threads of a process are gathered. The recorded processes have one thread each, so no task prefers a cache.
    pub(super) gathering: Option<Gathering>,
    pub(super) rows: Vec<CpuRow>,
    pub(super) cpus: CpuMask,
    pub(super) sd: DomainId,
    pub(super) dst_cpu: CpuId,
    pub(super) idle: IdleType,
    /// Everything that `idle_cpu` depends on is in the record.
    pub(super) idle_is_known: bool,
    /// CPUs of the local group that look idle, and how many of them are in the middle of switching.
    switching: (Vec<CpuId>, usize),
    /// Whose turn it is can be told.
    turn_is_known: bool,
    /// Where a task too big for its CPU was looked at.
    misfits: CpuMask,
}

/// What our search found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) group: Option<GroupId>,
    pub(super) imbalance: i64,
    pub(super) migration_type: MigrationType,
    pub(super) fbq_type: FbqType,
}

impl<'r> State<'r> {
    /// Rebuilds the state; `None` (and a difference) if the record does not fit the machine.
    pub(super) fn rebuild(
        check: &mut Check<'_>,
        kernel: &'r Kernel,
        topo: &mut Domains,
        record: &LbRecord,
        attempt: &Attempt,
    ) -> Option<Self> {
        let ncpus = topo.cpus.len();
        let dst_cpu = CpuId(record.dst_cpu);
        let known = dst_cpu.index() < ncpus && attempt.rq.len() == ncpus;
        if !check.same(Checked::Level, "the machine's CPUs", attempt.rq.len(), ncpus) || !known {
            return None;
        }
        let level = level_of(topo, dst_cpu, record);
        let idle = match record.idle.as_str() {
            "busy" => Some(IdleType::NotIdle),
            "idle" => Some(IdleType::Idle),
            "newly_idle" => Some(IdleType::NewlyIdle),
            _ => None,
        };
        let cpus = parse_mask(&attempt.cpus, ncpus);
        let dst_cpu = match &cpus {
            Some(cpus) if !cpus.contains(dst_cpu) => destination(check, topo, level, cpus).unwrap_or(dst_cpu),
            _ => dst_cpu,
        };
        let (Some(sd), Some(idle), Some(cpus)) = (level, idle, cpus) else {
            check.same(Checked::Level, "level, idle type and mask", record.level.as_str(), "not known");
            return None;
        };
        let domain = &mut topo.domains[sd.index()];
        domain.nr_balance_failed = record.nr_balance_failed;
        check.same(Checked::Level, "imbalance_pct", record.imbalance_pct, domain.imbalance_pct);
        let sources = attempt.scan.iter().map(|task| CpuId(task.src)).filter(|src| src.index() < ncpus);
        let misfits = CpuMask::from_cpus(ncpus, sources);
        let rows = rows(topo, attempt);
        let mut state = Self {
            rules: &kernel.balance,
            gathering: sched_cache_enabled(kernel, topo),
            rows,
            cpus,
            sd,
            dst_cpu,
            idle,
            idle_is_known: true,
            switching: (Vec::new(), 0),
            turn_is_known: true,
            misfits,
        };
        if idle == IdleType::NewlyIdle {
            // The previous task is still current.
            state.rows[dst_cpu.index()].idle = false;
        }
        state.fill_capacities(topo);
        let sds = &attempt.sds;
        let busiest = sds.busiest.as_ref().zip(sds.busiest_stat.as_ref());
        for (mask, stats) in busiest.into_iter().chain([(&sds.local, &sds.local_stat)]) {
            if let Some(group) = state.group(topo, mask) {
                state.infer(check, topo, group, stats, &attempt.rq);
            }
        }
        state.settle_switching(topo);
        Some(state)
    }

    /// Decides which CPUs of the local group are switching: some that make it this CPU's turn, if there are such.
    fn settle_switching(&mut self, topo: &Domains) {
        let (cpus, count) = core::mem::take(&mut self.switching);
        let mut tries = TRIES_MAX;
        if count > 0 && !self.find_switching(topo, &cpus, count, &mut tries) {
            self.turn_is_known = tries > 0;
            cpus.iter().take(count).for_each(|cpu| self.rows[cpu.index()].idle = false);
        }
    }

    /// Marks `count` of the CPUs as switching so that it is this CPU's turn; false, and none marked, if no choice does.
    fn find_switching(&mut self, topo: &Domains, cpus: &[CpuId], count: usize, tries: &mut u32) -> bool {
        if count == 0 {
            *tries = tries.saturating_sub(1);
            return self.search(topo).should_we_balance().is_for(self.dst_cpu);
        }
        for (i, &cpu) in cpus.iter().enumerate() {
            if cpus.len() - i < count || *tries == 0 {
                break;
            }
            self.rows[cpu.index()].idle = false;
            if self.find_switching(topo, &cpus[i + 1..], count - 1, tries) {
                return true;
            }
            self.rows[cpu.index()].idle = true;
        }
        false
    }

    /// The group of the level with this mask.
    fn group(&self, topo: &Domains, mask: &str) -> Option<GroupId> {
        let mask = parse_mask(mask, topo.cpus.len())?;
        topo.ring(topo.domains[self.sd.index()].groups).find(|group| *topo.groups[group.index()].span == mask)
    }

    /// The CPUs that may stand in for the destination of a pinned task.
    pub(super) fn dst_grpmask<'a>(&self, topo: &'a Domains) -> &'a CpuMask {
        let group = &topo.groups[topo.domains[self.sd.index()].groups.index()];
        match self.rules.pass.stand_ins {
            StandIns::GroupSpan => &group.span,
            StandIns::BalanceMask => &topo.capacities[group.sgc.index()].balance_mask,
        }
    }

    /// A pinned task has named another destination; which one is not recorded.
    pub(super) fn redirect(&mut self, check: &mut Check<'_>, topo: &Domains) {
        self.cpus.clear(self.dst_cpu);
        if let Some(other) = self.dst_grpmask(topo).first_and(&self.cpus) {
            check.inferred(Inferred::NewDestination);
            self.dst_cpu = other;
        }
    }

    /// Group capacities as sums of their CPUs' present ones.
    fn fill_capacities(&self, topo: &mut Domains) {
        let groups: Vec<GroupId> = topo.ring(topo.domains[self.sd.index()].groups).collect();
        for group in groups {
            let group = &topo.groups[group.index()];
            let capacities = || group.span.iter().map(|cpu| self.rows[cpu.index()].capacity);
            let sgc = &mut topo.capacities[group.sgc.index()];
            sgc.capacity = capacities().sum();
            sgc.min_capacity = capacities().min().unwrap_or(0);
            sgc.max_capacity = capacities().max().unwrap_or(0);
            sgc.imbalance = false;
        }
    }

    /// What the record does not hold but the group's numbers show.
    fn infer(
        &mut self,
        check: &mut Check<'_>,
        topo: &mut Domains,
        group: GroupId,
        stats: &RecordedStats,
        recorded: &[crate::recording::decisions::RqRow],
    ) {
        let group = &topo.groups[group.index()];
        let cpus: Vec<CpuId> = group.span.iter().filter(|&cpu| self.cpus.contains(cpu)).collect();
        let sgc = &mut topo.capacities[group.sgc.index()];
        if stats.group_type == "imbalanced" {
            sgc.imbalance = true;
            check.inferred(Inferred::ImbalanceFlag);
        }
        let present = sgc.capacity;
        let possible = (present - present / 4).max(1)..=1024 * u64::from(group.group_weight);
        if stats.group_capacity != present && possible.contains(&stats.group_capacity) {
            sgc.capacity = stats.group_capacity;
            check.inferred(Inferred::StaleCapacity);
            if let [cpu] = cpus[..]
                && cpu == self.dst_cpu
                && group.group_weight == 1
            {
                // The pass has refreshed it before it looked at anything.
                self.rows[cpu.index()].capacity = stats.group_capacity;
            }
        }
        self.infer_misfit(check, topo, &cpus, stats);
        let idle = cpus.iter().filter(|cpu| self.rows[cpu.index()].idle).count() as u32;
        if idle > stats.idle_cpus {
            check.inferred(Inferred::Switching);
            self.idle_is_known = false;
            let looks_idle = cpus.iter().copied().filter(|cpu| self.rows[cpu.index()].idle);
            let count = (idle - stats.idle_cpus) as usize;
            if group.span.contains(self.dst_cpu) {
                self.switching = (looks_idle.collect(), count);
            } else {
                let switching: Vec<CpuId> = looks_idle.take(count).collect();
                switching.iter().for_each(|cpu| self.rows[cpu.index()].idle = false);
            }
        }
        let all: u32 = cpus.iter().map(|cpu| self.rows[cpu.index()].nr_running).sum();
        let mut queued = stats.sum_nr_running.saturating_sub(all);
        for &cpu in &cpus {
            let row = &mut self.rows[cpu.index()];
            if queued > 0 && row.h_nr_runnable > row.nr_running {
                check.inferred(Inferred::Enqueueing);
                (row.nr_running, row.idle) = (row.h_nr_runnable, false);
                queued -= 1;
            }
        }
        if self.rules.fair_tasks == FairTasks::Runnable {
            return;
        }
        let fair: u32 = cpus.iter().map(|cpu| self.rows[cpu.index()].h_nr_queued).sum();
        let mut not_fair = fair.saturating_sub(stats.sum_h_nr_running);
        if not_fair > 0 {
            check.inferred(Inferred::NotFair);
        }
        for cpu in cpus {
            let row = &mut self.rows[cpu.index()];
            let other = recorded[cpu.index()].0.saturating_sub(recorded[cpu.index()].1).min(not_fair);
            row.h_nr_queued -= other;
            not_fair -= other;
        }
    }

    /// On a level of unequal CPUs: which CPU has the task that is too big for it. The first busy one, if nothing says more.
    fn infer_misfit(&mut self, check: &mut Check<'_>, topo: &Domains, cpus: &[CpuId], stats: &RecordedStats) {
        let unequal = topo.domains[self.sd.index()].flags.contains(SdFlags::ASYM_CPUCAPACITY);
        let load = stats.group_misfit_task_load.unwrap_or(0);
        if !unequal || load == 0 {
            return;
        }
        let busy = |cpu: &&CpuId| self.rows[cpu.index()].h_nr_queued > 0;
        if let Some(cpu) = cpus.iter().find(|cpu| self.misfits.contains(**cpu)).or(cpus.iter().find(busy)) {
            self.rows[cpu.index()].misfit_task_load = load;
            check.inferred(Inferred::MisfitCpu);
        }
    }

    /// In groups whose sums are not recorded, takes the tasks that are not runnable fair ones for other than fair
    /// (instead of delayed); whether there are any.
    pub(super) fn take_doubtful_as_not_fair(&mut self, topo: &Domains, attempt: &Attempt) -> bool {
        if self.rules.fair_tasks == FairTasks::Runnable {
            return false;
        }
        let sds = &attempt.sds;
        let known: Vec<GroupId> =
            sds.busiest.iter().chain([&sds.local]).filter_map(|mask| self.group(topo, mask)).collect();
        let is_known = |cpu| known.iter().any(|group| topo.groups[group.index()].span.contains(cpu));
        let mut any = false;
        for (cpu, recorded) in attempt.rq.iter().enumerate() {
            let row = &mut self.rows[cpu];
            if recorded.1 < row.h_nr_queued && !is_known(CpuId::from_index(cpu)) {
                row.h_nr_queued = recorded.1;
                any = true;
            }
        }
        any
    }

    /// The search as our functions take it.
    pub(super) fn search<'a>(&'a self, topo: &'a Domains) -> Search<'a, [CpuRow]> {
        Search {
            topo,
            view: self.rows.as_slice(),
            rules: self.rules,
            sd: self.sd,
            dst_cpu: self.dst_cpu,
            idle: self.idle,
            cpus: &self.cpus,
            energy_aware: EnergyAware::Off,
            gathering: self.gathering,
        }
    }

    /// Decides, and compares turn, statistics and decision.
    pub(super) fn compare_search(&self, check: &mut Check<'_>, topo: &Domains, attempt: &Attempt) -> Found {
        let search = self.search(topo);
        let turn = search.should_we_balance();
        let row = &self.rows[self.dst_cpu.index()];
        let got_work = self.idle.is_idle() && (row.nr_running != 0 || row.ttwu_pending);
        if got_work && !turn.is_for(self.dst_cpu) {
            check.inferred(Inferred::DestinationChanged);
        } else if self.turn_is_known {
            check.same(Checked::Turn, "our turn", true, turn.is_for(self.dst_cpu));
        }
        let mut sds = search.update_sd_lb_stats();
        // Recorded before the decision, which fills in further averages.
        compare_stats(check, "local", &attempt.sds.local_stat, &sds.local_stat);
        if let Some(busiest) = &attempt.sds.busiest_stat {
            compare_stats(check, "busiest", busiest, &sds.busiest_stat);
        }
        let verdict = search.find_src_group(&mut sds);
        let amount = verdict.imbalance.filter(|_| verdict.group.is_some()).map_or(0, |found| found.amount);
        let migration_type = verdict.imbalance.and_then(|found| found.migration_type).unwrap_or_default();
        let recorded = &attempt.sds;
        let span = |group: Option<GroupId>| group.map(|group| topo.groups[group.index()].span.to_string());
        let mask = |text: &str| parse_mask(text, topo.cpus.len()).map(|mask| mask.to_string());
        let same = Checked::Search;
        check.same(same, "total_load", recorded.total_load, sds.total_load);
        check.same(same, "total_capacity", recorded.total_capacity, sds.total_capacity);
        check.same(same, "prefer_sibling", recorded.prefer_sibling != 0, sds.prefer_sibling);
        check.same(same, "local", mask(&recorded.local), span(sds.local));
        check.same(same, "busiest", recorded.busiest.as_deref().and_then(mask), span(sds.busiest));
        let out = &attempt.out;
        check.same(same, "group", out.group.as_deref().and_then(mask), span(verdict.group));
        check.same(same, "imbalance", out.imbalance, amount);
        let unit = verdict.group.map(|_| migration_type.name());
        check.same(same, "migration_type", out.migration_type.as_deref(), unit);
        let fbq = match sds.fbq_type {
            FbqType::Regular => "regular",
            FbqType::Remote => "remote",
            FbqType::All => "all",
        };
        check.same(same, "fbq", out.fbq.as_str(), fbq);
        Found { group: verdict.group, imbalance: amount, migration_type, fbq_type: sds.fbq_type }
    }
}

/// The level of a record: several between nodes may have its name, then it is the one whose CPUs are the first candidates.
fn level_of(topo: &Domains, dst_cpu: CpuId, record: &LbRecord) -> Option<DomainId> {
    let named = || topo.chain(dst_cpu).filter(|sd| topo.domains[sd.index()].name == record.level);
    let cpus = record.attempts.first().and_then(|attempt| parse_mask(&attempt.cpus, topo.cpus.len()));
    let spans = |sd: &DomainId| cpus.as_ref().is_some_and(|cpus| *cpus == *topo.domains[sd.index()].span);
    let holds =
        |sd: &DomainId| cpus.as_ref().is_some_and(|cpus| cpus.is_subset(&topo.domains[sd.index()].span));
    named().find(spans).or_else(|| named().find(holds)).or_else(|| named().next())
}

/// The destination of a search from which the CPU balanced for is left out: another CPU of its group, which a pinned task
/// has named. Which one the record does not say; the first that takes part.
fn destination(
    check: &mut Check<'_>,
    topo: &Domains,
    level: Option<DomainId>,
    cpus: &CpuMask,
) -> Option<CpuId> {
    let group = topo.domains[level?.index()].groups;
    let other = topo.groups[group.index()].span.first_and(cpus)?;
    check.inferred(Inferred::NewDestination);
    Some(other)
}

fn rows(topo: &Domains, attempt: &Attempt) -> Vec<CpuRow> {
    let row = |(cpu, row): (usize, &crate::recording::decisions::RqRow)| CpuRow {
        // Between its two counters being raised a CPU shows more fair tasks than tasks.
        h_nr_queued: row.0.max(row.1),
        h_nr_runnable: row.1,
        load: row.2,
        runnable: row.3,
        util: row.4.max(row.5),
        idle: row.0 == 0 && row.7 == 0,
        ttwu_pending: row.7 != 0,
        nr_numa_running: row.8,
        nr_preferred_running: row.9,
        ..CpuRow::busy(cpu as u32, row.0, 0, 0, 0).with_capacity(row.6, topo.cpu_capacity[cpu])
    };
    attempt.rq.iter().enumerate().map(row).collect()
}

fn compare_stats(check: &mut Check<'_>, which: &str, recorded: &RecordedStats, computed: &SgStats) {
    let mut same = |field: &str, recorded: u64, computed: u64| {
        check.same(Checked::Search, &format!("{which} {field}"), recorded, computed);
    };
    same("avg_load", recorded.avg_load, computed.avg_load);
    same("group_load", recorded.group_load, computed.group_load);
    same("group_capacity", recorded.group_capacity, computed.group_capacity);
    same("group_util", recorded.group_util, computed.group_util);
    same("group_runnable", recorded.group_runnable, computed.group_runnable);
    same("sum_nr_running", recorded.sum_nr_running.into(), computed.sum_nr_running.into());
    same("sum_h_nr_running", recorded.sum_h_nr_running.into(), computed.sum_h_nr_running.into());
    same("idle_cpus", recorded.idle_cpus.into(), computed.idle_cpus.into());
    same("group_weight", recorded.group_weight.into(), computed.group_weight.into());
    // What the record leaves out is not compared.
    let flag = |recorded: Option<u32>| recorded.map(u64::from);
    let optional = [
        ("asym_packing", flag(recorded.group_asym_packing), computed.group_asym_packing.into()),
        ("smt_balance", flag(recorded.group_smt_balance), computed.group_smt_balance.into()),
        ("misfit", recorded.group_misfit_task_load, computed.group_misfit_task_load),
        ("nr_numa_running", flag(recorded.nr_numa_running), computed.nr_numa_running.into()),
        ("nr_preferred_running", flag(recorded.nr_preferred_running), computed.nr_preferred_running.into()),
        ("nr_pref_dst_llc", flag(recorded.nr_pref_dst_llc), computed.nr_pref_dst_llc.into()),
        ("llc_balance", flag(recorded.group_llc_balance), computed.group_llc_balance.into()),
    ];
    for (field, recorded, computed) in optional {
        recorded.into_iter().for_each(|recorded| same(field, recorded, computed));
    }
    let (recorded, computed) = (recorded.group_type.as_str(), computed.group_type.name());
    check.same(Checked::Search, &format!("{which} group_type"), recorded, computed);
}
