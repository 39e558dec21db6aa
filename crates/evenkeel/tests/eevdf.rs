//! The worked timelines of spec 2 §17.8, driven through the scheduler's inputs.

mod bench;

use bench::{Bench, CPU, MS};
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::kernels::V6_12_117;

/// Two nice-0 tasks; the first runs 3 ms and sleeps: it has had more than its share, so it stays queued.
fn delayed() -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::new(&V6_12_117);
    let (a, b) = (bench.task(0, 0), bench.task(0, 0));
    for child in [a, b] {
        bench.sched.handle(0, Input::Fork { cpu: CPU, child });
        while bench.sched.poll().is_some() {}
    }
    bench.input(0, Input::Schedule { cpu: CPU });
    assert_eq!(bench.curr(), Some(a));
    bench.input(3 * MS, Input::Block { cpu: CPU });
    let queue = &bench.sched.queues()[0];
    assert_eq!((queue.nr_running, queue.h_nr_queued, queue.h_nr_runnable()), (2, 2, 1));
    assert_eq!(bench.sched.rqs()[0].nr_running, 2);
    assert_eq!(bench.times(a), (3 * MS as i64, 5_800_000));
    assert_eq!(bench.curr(), Some(b));
    assert!(!bench.tick(4 * MS), "B has not used its slice");
    assert_eq!(bench.times(b).0, MS as i64);
    (bench, a, b)
}

#[test]
fn a_delayed_task_that_wakes_goes_on_where_it_was() {
    let (mut bench, a, b) = delayed();
    let wake = Input::Wake { cpu: CpuId(1), task: a, context: WakeContext { interrupt: true, sync: false } };
    assert!(bench.input(5 * MS, wake), "the update of B renews its deadline");
    assert_eq!(bench.sched.entity(a).vlag, -1_000_000, "by the stale B, last updated at 4 ms");
    assert_eq!(bench.times(a), (3_000_000, 5_800_000));
    assert_eq!(bench.times(b), (2_000_000, 4_800_000));
    assert_eq!(bench.sched.queues()[0].h_nr_runnable(), 2);
}

#[test]
fn a_delayed_task_leaves_when_it_is_picked() {
    let (mut bench, a, b) = delayed();
    assert!(bench.tick(8 * MS));
    assert_eq!(bench.times(b), (5_000_000, 7_800_000));
    assert_eq!(bench.sched.entity(a).vlag, 0);
    assert!(!bench.sched.entity(a).on_rq);
    assert_eq!(bench.curr(), Some(b));
    let queue = &bench.sched.queues()[0];
    assert_eq!((queue.nr_running, queue.h_nr_queued, queue.h_nr_runnable()), (1, 1, 1));
}
