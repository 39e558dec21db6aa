//! The recorded machine: its shape, and the conditions of a boot that its traces tell.
use super::background::{self, KernelThread};
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel_formats::conform::traces::RecordedRun;
use evenkeel_formats::ftrace::{LeftAs, TraceEvent, TraceRecord};
use std::collections::BTreeMap;

/// The tick of all recorded kernels.
const TICK: Ns = 4 * MS;
/// From a tick to the switch it causes.
const HANDLING: Ns = 9 * US;
/// How near a switch must be to count.
const NEAR: Ns = 15 * US;

/// What differs from boot to boot and concerns every run of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// See [`device_phase`]; none: it is not known.
    pub device_phase: Option<Ns>,
    /// See [`decisions_were_recorded`].
    pub decisions_recorded: bool,
    /// The threads of the kernel that ran beside the workloads.
    pub threads: Vec<KernelThread>,
}

impl Conditions {
    /// The conditions of a boot, from the traces of its runs: of the phases they tell the median.
    pub fn of_boot<'a, I>(recordings: impl Fn() -> I, ncpus: usize) -> Self
    where
        I: Iterator<Item = (&'a RecordedRun, &'a [TraceRecord])>,
    {
        let traces = || recordings().map(|(_, records)| records);
        let mut phases: Vec<Ns> = traces().filter_map(|records| device_phase(records, ncpus)).collect();
        phases.sort_unstable();
        Self {
            device_phase: phases.get(phases.len() / 2).copied(),
            decisions_recorded: decisions_were_recorded(traces()),
            threads: background::threads_of_boot(recordings(), ncpus),
        }
    }
}

/// Whether probes recorded the decisions of the balancer as well, which takes the machine time.
///
/// A wake-up with such a record takes 46 us from `sched_waking` to `sched_wakeup` or `sched_migrate_task` on the same
/// CPU, one without 5 us. They were if a quarter of the wake-ups takes more than 30 us.
pub fn decisions_were_recorded<'a>(traces: impl IntoIterator<Item = &'a [TraceRecord]>) -> bool {
    let (mut slow, mut all) = (0u64, 0u64);
    for records in traces {
        let mut begun: BTreeMap<i32, (u32, Ns)> = BTreeMap::new();
        for record in records {
            match &record.event {
                TraceEvent::Waking { task, .. } => {
                    begun.insert(task.pid, (record.cpu, record.at));
                }
                TraceEvent::Wakeup { task, .. } | TraceEvent::Migrate { task, .. } => {
                    if let Some((cpu, at)) = begun.remove(&task.pid) {
                        all += u64::from(cpu == record.cpu);
                        slow += u64::from(cpu == record.cpu && record.at - at > 30 * US);
                    }
                }
                _ => {}
            }
        }
    }
    all > 0 && 4 * slow >= all
}

/// The machine that recordings call `topology`, if runs were recorded on it.
pub fn of_topology(topology: &str) -> Option<Machine> {
    match topology {
        "c4t2" => Some(Machine::regular(1, 1, 4, 2, false)),
        "s2c2t2n2" => Some(Machine::regular(2, 1, 2, 2, true)),
        _ => None,
    }
}

/// How long after each tick of a recorded machine another of its timers expires, if the trace tells.
///
/// Turns shrink towards that timer ([`evenkeel_sim::turns`]): with 2.96 ms to go, 8 busy CPUs handle a tick 0, 0.37, 0.69,
/// 0.98 ... ms late. It is the same in all recordings of a boot and different from boot to boot (0.48, 1.5, 1.96,
/// 2.96, 3.7 ms), like the phase of the tick itself. The one is taken whose delays explain most of the switches that
/// come shortly after a tick; unless it explains half of them, there is none.
pub fn device_phase(records: &[TraceRecord], ncpus: usize) -> Option<Ns> {
    let offsets: Vec<Ns> = records
        .iter()
        .filter(|record| {
            let TraceEvent::Switch { prev, prev_state: LeftAs::Runnable, .. } = &record.event else {
                return false;
            };
            prev.pid != 0
        })
        .map(|record| record.at % TICK)
        .collect();
    let explained = |phase: Ns| {
        let late = (0..ncpus as u32).map(|turn| {
            let left = (0..turn).fold(phase, |left, _| left - left / ncpus as u64);
            phase - left + HANDLING
        });
        let late: Vec<Ns> = late.collect();
        offsets.iter().filter(|&&offset| late.iter().any(|&late| late.abs_diff(offset) <= NEAR)).count()
    };
    // Below half a millisecond the delays of different turns are too near to each other to tell.
    let phases = (400 * US..TICK).step_by(20 * US as usize);
    let best = phases.max_by_key(|&phase| explained(phase))?;
    (2 * explained(best) > offsets.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_formats::ftrace::TraceTask;

    #[test]
    fn the_phase_is_found_from_delays_of_ticks() {
        // As recorded: 0.009, 0.375, 0.695, 0.976, 1.221, 1.435, 1.623, 1.787 ms after the tick.
        let late = [9, 375, 695, 976, 1221, 1435, 1623, 1787];
        let task = |pid| TraceTask { comm: String::new(), pid };
        let record = |(tick, late): (u64, u64)| TraceRecord {
            at: tick * TICK + late * US,
            cpu: 0,
            interrupt: false,
            event: TraceEvent::Switch { prev: task(5), prev_state: LeftAs::Runnable, next: task(6) },
        };
        let records: Vec<_> = (0..).zip(late).map(record).collect();
        let phase = device_phase(&records, 8).unwrap();
        assert!(phase.abs_diff(2_930 * US) <= 40 * US, "{phase}");
        let anywhere: Vec<_> = (0..400).map(|i| record((i, i * 10))).collect();
        assert_eq!(device_phase(&anywhere, 8), None);
    }
}
