//! What tasks synchronise on: mutexes, conditions, barriers, semaphores, channels, shared timers.
//!
//! Everything is handed over in order of arrival: who has waited longest gets the mutex, the unit of a semaphore or
//! the message directly, and is woken as its owner. Real mutexes and pipes let a running task barge in between; that
//! is left out, so that results do not depend on it. Nothing here knows about CPUs or scheduling: each function says
//! who has to be woken, or whether the caller has to sleep.
use evenkeel::ids::TaskId;
use evenkeel::time::Ns;
use evenkeel::workload::{Object, ObjectKind};
use std::collections::VecDeque;

/// The present state of one object.
#[derive(Clone, Debug)]
enum State {
    Mutex {
        owner: Option<TaskId>,
        waiters: VecDeque<TaskId>,
    },
    Condition {
        waiters: VecDeque<TaskId>,
    },
    Barrier {
        parties: u32,
        waiters: Vec<TaskId>,
    },
    /// Semaphores and channels: units that can be taken.
    Counter {
        units: u64,
        waiters: VecDeque<TaskId>,
    },
    Timer {
        next: Option<Ns>,
    },
}

/// A mutex was released by a task that does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOwner;

/// All objects of a workload. Which operation goes with which kind was checked when the programs were compiled.
#[derive(Clone, Debug)]
pub(crate) struct Objects(Vec<State>);

impl Objects {
    /// The objects as they are at the start.
    pub(crate) fn new(objects: &[Object]) -> Self {
        let state = |object: &Object| match object.kind {
            ObjectKind::Mutex => State::Mutex { owner: None, waiters: VecDeque::new() },
            ObjectKind::Condition => State::Condition { waiters: VecDeque::new() },
            ObjectKind::Barrier { parties } => State::Barrier { parties, waiters: Vec::new() },
            ObjectKind::Semaphore { initial } => {
                State::Counter { units: u64::from(initial), waiters: VecDeque::new() }
            }
            ObjectKind::Channel => State::Counter { units: 0, waiters: VecDeque::new() },
            ObjectKind::Timer => State::Timer { next: None },
        };
        Self(objects.iter().map(state).collect())
    }

    /// `task` wants the mutex: true if it has it now, else it waits for it.
    pub(crate) fn lock(&mut self, mutex: u32, task: TaskId) -> bool {
        let State::Mutex { owner, waiters } = &mut self.0[mutex as usize] else { mismatch() };
        if owner.is_none() {
            *owner = Some(task);
            return true;
        }
        waiters.push_back(task);
        false
    }

    /// `task` releases the mutex; whoever owns it now has to be woken.
    pub(crate) fn unlock(&mut self, mutex: u32, task: TaskId) -> Result<Option<TaskId>, NotOwner> {
        let State::Mutex { owner, waiters } = &mut self.0[mutex as usize] else { mismatch() };
        if *owner != Some(task) {
            return Err(NotOwner);
        }
        *owner = waiters.pop_front();
        Ok(*owner)
    }

    /// `task` waits for the condition.
    pub(crate) fn wait(&mut self, condition: u32, task: TaskId) {
        self.condition(condition).push_back(task);
    }

    /// The task that a signal wakes.
    pub(crate) fn signal(&mut self, condition: u32) -> Option<TaskId> {
        self.condition(condition).pop_front()
    }

    /// The tasks that a broadcast wakes, in order.
    pub(crate) fn broadcast(&mut self, condition: u32) -> VecDeque<TaskId> {
        core::mem::take(self.condition(condition))
    }

    /// `task` arrives at the barrier: `Some` if it is the last, with those to wake; else it waits.
    pub(crate) fn arrive(&mut self, barrier: u32, task: TaskId) -> Option<Vec<TaskId>> {
        let State::Barrier { parties, waiters } = &mut self.0[barrier as usize] else { mismatch() };
        if waiters.len() + 1 >= *parties as usize {
            return Some(core::mem::take(waiters));
        }
        waiters.push(task);
        None
    }

    /// Who would get the next unit.
    pub(crate) fn next_waiter(&self, counter: u32) -> Option<TaskId> {
        let State::Counter { waiters, .. } = &self.0[counter as usize] else { mismatch() };
        waiters.front().copied()
    }

    /// A unit is added; whoever got it has to be woken.
    pub(crate) fn post(&mut self, counter: u32) -> Option<TaskId> {
        let State::Counter { units, waiters } = &mut self.0[counter as usize] else { mismatch() };
        let taker = waiters.pop_front();
        *units += u64::from(taker.is_none());
        taker
    }

    /// `task` wants a unit: true if it has it now, else it waits for it.
    pub(crate) fn take(&mut self, counter: u32, task: TaskId) -> bool {
        let State::Counter { units, waiters } = &mut self.0[counter as usize] else { mismatch() };
        if *units > 0 {
            *units -= 1;
            return true;
        }
        waiters.push_back(task);
        false
    }

    /// The next expiry of a shared timer.
    pub(crate) fn timer(&mut self, timer: u32) -> &mut Option<Ns> {
        let State::Timer { next } = &mut self.0[timer as usize] else { mismatch() };
        next
    }

    fn condition(&mut self, condition: u32) -> &mut VecDeque<TaskId> {
        let State::Condition { waiters } = &mut self.0[condition as usize] else { mismatch() };
        waiters
    }
}

fn mismatch() -> ! {
    unreachable!("compiling a program checks the kinds of the objects it names")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TaskId = TaskId(1);
    const B: TaskId = TaskId(2);
    const C: TaskId = TaskId(3);

    fn one(kind: ObjectKind) -> Objects {
        Objects::new(&[Object { name: "x".into(), kind }])
    }

    #[test]
    fn a_mutex_is_handed_over_in_order_of_arrival() {
        let mut objects = one(ObjectKind::Mutex);
        assert!(objects.lock(0, A));
        assert!(!objects.lock(0, B));
        assert!(!objects.lock(0, C));
        assert_eq!(objects.unlock(0, B), Err(NotOwner));
        assert_eq!(objects.unlock(0, A), Ok(Some(B)));
        assert!(!objects.lock(0, A), "B owns it although it has not run yet");
        assert_eq!(objects.unlock(0, B), Ok(Some(C)));
        assert_eq!(objects.unlock(0, C), Ok(Some(A)));
        assert_eq!(objects.unlock(0, A), Ok(None));
        assert!(objects.lock(0, C));
    }

    #[test]
    fn a_condition_has_no_memory_and_a_semaphore_has() {
        let mut condition = one(ObjectKind::Condition);
        assert_eq!(condition.signal(0), None);
        condition.wait(0, A);
        condition.wait(0, B);
        assert_eq!(condition.signal(0), Some(A));
        condition.wait(0, C);
        assert_eq!(condition.broadcast(0), [B, C]);
        let mut semaphore = one(ObjectKind::Semaphore { initial: 1 });
        assert_eq!(semaphore.post(0), None);
        assert!(semaphore.take(0, A) && semaphore.take(0, A));
        assert!(!semaphore.take(0, B));
        assert_eq!(semaphore.post(0), Some(B));
        assert!(!semaphore.take(0, A), "the unit went to B");
    }

    #[test]
    fn the_last_to_arrive_opens_a_barrier_and_closes_it_again() {
        let mut objects = one(ObjectKind::Barrier { parties: 3 });
        for _ in 0..2 {
            assert_eq!(objects.arrive(0, A), None);
            assert_eq!(objects.arrive(0, B), None);
            assert_eq!(objects.arrive(0, C), Some(vec![A, B]));
        }
    }
}
