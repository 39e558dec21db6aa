//! What a domain does, in words.
use evenkeel::topology::{Domain, SdFlags};

/// How often the domain is balanced: `every 8 to 16 ms, from busy CPUs every 128 ms`.
pub(super) fn intervals(domain: &Domain) -> String {
    let busy = domain.balance_interval * u64::from(domain.busy_factor);
    format!(
        "balances every {} to {} ms, from busy CPUs every {busy} ms",
        domain.min_interval, domain.max_interval
    )
}

/// When it acts: `evens out more than 17 %; 2 tasks may stay unbalanced`.
pub(super) fn thresholds(domain: &Domain) -> String {
    let mut text = format!(
        "acts on differences above {} % (imbalance_pct {})",
        domain.imbalance_pct.saturating_sub(100),
        domain.imbalance_pct
    );
    if domain.flags.contains(SdFlags::NUMA) && domain.imb_numa_nr > 0 {
        let tasks = if domain.imb_numa_nr == 1 { "task" } else { "tasks" };
        text += &format!(", lets {} {tasks} be unbalanced", domain.imb_numa_nr);
    }
    let tries = domain.cache_nice_tries;
    text + &match tries {
        0 => String::from(", moves cache-hot tasks after the first failure"),
        _ => format!(", moves cache-hot tasks after {} failures", tries + 1),
    }
}

/// What the CPUs have in common, and what the level is used for besides balancing.
pub(super) fn uses(domain: &Domain) -> String {
    let has = |flag| domain.flags.contains(flag);
    let mut words = Vec::new();
    if has(SdFlags::SHARE_CPUCAPACITY) {
        words.push("threads of one core");
    } else if has(SdFlags::CLUSTER) {
        words.push("CPUs share a cluster");
    } else if has(SdFlags::SHARE_LLC) {
        words.push("CPUs share the last-level cache");
    }
    if has(SdFlags::NUMA) {
        words.push("crosses memory nodes");
    }
    if has(SdFlags::ASYM_CPUCAPACITY_FULL) {
        words.push("holds CPUs of every capacity");
    } else if has(SdFlags::ASYM_CPUCAPACITY) {
        words.push("holds CPUs of unequal capacity");
    }
    words.push(if has(SdFlags::BALANCE_NEWIDLE) {
        "CPUs that run dry pull at once"
    } else {
        "CPUs that run dry wait for the next balance"
    });
    let places = SdFlags::BALANCE_FORK | SdFlags::BALANCE_EXEC;
    words.push(if has(places) { "new tasks may go anywhere in it" } else { "new tasks do not cross it" });
    if !has(SdFlags::WAKE_AFFINE) {
        words.push("wakers do not pull tasks across it");
    }
    if has(SdFlags::BALANCE_WAKE) {
        words.push("wake-ups look for the idlest CPU in it");
    }
    if has(SdFlags::PREFER_SIBLING) && domain.parent.is_some() {
        words.push("its parent spreads tasks over its siblings");
    }
    if has(SdFlags::ASYM_PACKING) {
        words.push("work is packed on CPUs of high priority");
    }
    if has(SdFlags::SERIALIZE) {
        words.push("one balancer at a time in the system");
    }
    words.join("; ")
}
