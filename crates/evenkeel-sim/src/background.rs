//! The kernel threads that every running machine has beside the workload.
//!
//! They use next to no time, and matter all the same: a CPU that is about to go idle looks for work elsewhere, and on a
//! machine where nothing but the workload ever ran, an idle CPU would never be about to go idle. In recordings of real
//! kernels, sixteen tasks that were held on one CPU for a quarter of a second spread within 5 to 37 ms in most runs, started by
//! kernel threads that happened to wake up; without any, idle CPUs wait for intervals that have grown to a quarter of a
//! second while nothing could be moved.
//!
//! The model: one thread that may run anywhere wakes every 4 ms for 15 us, like the kernel's grace-period thread
//! (`rcu_preempt`, seen every 4 to 12 ms while grace periods last); one thread on each CPU wakes once a second for 30 us, like its
//! worker (`kworker`). Left out: that grace periods come in bursts, workers of devices, everything a distribution starts.
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::workload::{
    Attributes, Naming, Op, Phase, Program, Repeat, TaskSpec, TimerOp, TimerRef, Workload,
};

/// How often the grace-period thread wakes.
const GRACE_PERIOD: Ns = 4 * MS;

/// Adds the background threads of a machine of `ncpus` CPUs to a workload; they come after its own definitions.
pub(crate) fn add(workload: &mut Workload, ncpus: u32) {
    let start_cpu = workload.tasks.iter().find(|spec| spec.instances > 0).map_or(0, |spec| spec.start_cpu);
    let thread = |name: String, cpu: Option<u32>, run: Ns, period: Ns, delay: Ns| {
        let timer = TimerOp { timer: TimerRef::Private(0), period, absolute: true };
        let ops = vec![Op::Timer(timer), Op::Run(run)];
        TaskSpec {
            name,
            naming: Naming::Plain,
            instances: 1,
            start_cpu,
            delay,
            percpu_kthread: cpu.is_some(),
            attributes: Attributes { affinity: cpu.map(|cpu| vec![cpu]), ..Attributes::default() },
            program: Program { phases: vec![Phase { ops, ..Phase::default() }], repeat: Repeat::Forever },
            ..TaskSpec::default()
        }
    };
    workload.tasks.push(thread("rcu_preempt".into(), None, 15 * US, GRACE_PERIOD, 0));
    for cpu in 0..ncpus {
        // Spread over the second, so that the CPUs do not wake together.
        let delay = SEC / u64::from(ncpus) * u64::from(cpu);
        workload.tasks.push(thread(format!("kworker/{cpu}:1"), Some(cpu), 30 * US, SEC, delay));
    }
}
