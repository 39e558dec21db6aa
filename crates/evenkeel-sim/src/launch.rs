//! How a workload starts: tasks named `init` that fork all others, and the names these get.
//!
//! As in the recordings of real kernels, one parent forks all instances in the order of the file, from its CPU, and
//! then sleeps for good. Definitions may name another start CPU: then there is one such parent per distinct start CPU,
//! pinned there. Each fork is preceded by `fork_cost` (50 us unless set) of its running time, so 20 instances are there
//! after a millisecond. Parents are tasks like any other (they compete for their CPU); results flag them as launchers. If they start
//! real-time or deadline tasks they are deadline tasks themselves.
use crate::program::{Program, Step};
use evenkeel::ids::CpuId;
use evenkeel::time::{Ns, US};
use evenkeel::workload::{Class, Naming, Policy, TaskSpec, Workload};

/// The name of launchers.
pub(crate) const LAUNCHER: &str = "init";

/// One parent.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    /// Where it is pinned.
    pub(crate) cpu: CpuId,
    /// What it does.
    pub(crate) program: Program,
}

/// The parents of a workload, by first use of their CPU in the file.
pub(crate) fn launchers(workload: &Workload, fork_cost: Ns) -> Vec<Launcher> {
    let mut all: Vec<Launcher> = Vec::new();
    for (index, spec) in workload.tasks.iter().enumerate().filter(|(_, spec)| spec.instances > 0) {
        let cpu = CpuId(spec.start_cpu);
        let at = all.iter().position(|launcher| launcher.cpu == cpu).unwrap_or_else(|| {
            let program = Program { steps: vec![Step::Start], origins: vec![None], private_timers: 0 };
            all.push(Launcher { cpu, program });
            all.len() - 1
        });
        let program = &mut all[at].program;
        for _ in 0..spec.instances {
            program.steps.extend([Step::Run(fork_cost), Step::Fork(index as u32)]);
            program.origins.extend([spec.origin, spec.origin]);
        }
    }
    for launcher in &mut all {
        launcher.program.steps.extend([Step::Sleep(Ns::MAX), Step::Exit]);
        launcher.program.origins.extend([None, None]);
    }
    all
}

/// The name of instance `number` of a definition; numbers from `instances` on are those that forks create.
pub(crate) fn instance_name(spec: &TaskSpec, number: u32) -> String {
    let forked = number.checked_sub(spec.instances);
    match (spec.naming, forked) {
        (Naming::Plain, _) => spec.name.clone(),
        (Naming::NumberedIfSeveral, _) if spec.instances <= 1 && number == 0 => spec.name.clone(),
        (Naming::NumberedIfSeveral, _) => format!("{}-{number}", spec.name),
        (Naming::NumberedFrom(first), None) => format!("{}-{}", spec.name, first + number),
        (Naming::NumberedFrom(first), Some(forked)) => format!("{}-{first}-{forked}", spec.name),
    }
}

/// The policy of launchers. Where they start real-time or deadline tasks they have the earliest deadline of all: else the
/// first of these would keep the others from being started.
pub(crate) fn launcher_policy(workload: &Workload) -> Option<Policy> {
    let urgent = |spec: &TaskSpec| spec.attributes.policy.is_some_and(|policy| policy.class() != Class::Fair);
    let span = 100 * US;
    workload.tasks.iter().any(urgent).then_some(Policy::Deadline {
        runtime: span,
        deadline: span,
        period: span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_parent_per_start_cpu() {
        let spec = |instances, start_cpu| TaskSpec { instances, start_cpu, ..TaskSpec::default() };
        let workload =
            Workload { tasks: vec![spec(2, 3), spec(0, 7), spec(1, 0), spec(1, 3)], ..Workload::default() };
        let launchers = launchers(&workload, 5);
        assert_eq!(launchers.iter().map(|launcher| launcher.cpu.0).collect::<Vec<_>>(), [3, 0]);
        let run = Step::Run(5);
        let expected = [
            Step::Start,
            run,
            Step::Fork(0),
            run,
            Step::Fork(0),
            run,
            Step::Fork(3),
            Step::Sleep(Ns::MAX),
            Step::Exit,
        ];
        assert_eq!(launchers[0].program.steps, expected);
    }

    #[test]
    fn instances_are_named_as_their_definition_says() {
        let names = |naming, instances| {
            let spec = TaskSpec { name: "w".into(), naming, instances, ..TaskSpec::default() };
            (0..instances + 2).map(|number| instance_name(&spec, number)).collect::<Vec<_>>()
        };
        assert_eq!(names(Naming::NumberedIfSeveral, 1), ["w", "w-1", "w-2"]);
        assert_eq!(names(Naming::NumberedIfSeveral, 2), ["w-0", "w-1", "w-2", "w-3"]);
        assert_eq!(names(Naming::Plain, 1), ["w", "w", "w"]);
        assert_eq!(names(Naming::NumberedFrom(4), 2), ["w-4", "w-5", "w-4-0", "w-4-1"]);
        assert_eq!(names(Naming::NumberedFrom(4), 0), ["w-4-0", "w-4-1"]);
    }
}
