//! The event queue: one slot per thing that can happen, and a tournament tree that knows which is next.
//!
//! A machine has few *kinds* of pending events, and of each kind at most one per CPU or task: one tick, one end of the
//! running burst, one reschedule interrupt ... So every event has its fixed slot, arming a slot again moves it, and
//! there is nothing to delete lazily. Setting a slot costs at most `log2(slots)` comparisons: on 64 CPUs with 1000
//! tasks, 2048 leaves and 11 levels, of which most updates visit three or four.
//!
//! **Order at equal times is the order of the slots**, lowest first; [`Kind`] says why they are laid out as they are.
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::time::Ns;

/// The time of a slot that is not armed.
const NEVER: Ns = Ns::MAX;

/// A tournament tree over numbered slots: arm, move and cancel in place; the earliest, then lowest, slot wins.
#[derive(Clone, Debug)]
pub struct Tournament {
    /// Leaves: the time of each slot, [`NEVER`] if it is not armed; length is a power of two.
    times: Vec<Ns>,
    /// Inner nodes as a heap with the root at 1: the winning slot of the subtree.
    winners: Vec<u32>,
}

impl Tournament {
    /// Room for at least `slots` slots, none armed.
    pub fn new(slots: usize) -> Self {
        let leaves = slots.next_power_of_two().max(2);
        let mut tree = Self { times: vec![NEVER; leaves], winners: vec![0; leaves] };
        tree.rebuild();
        tree
    }

    /// Makes room for at least `slots` slots; those that exist keep their times.
    pub fn grow(&mut self, slots: usize) {
        if slots > self.times.len() {
            self.times.resize(slots.next_power_of_two(), NEVER);
            self.rebuild();
        }
    }

    /// Arms `slot` for `time`, wherever it was before.
    #[inline]
    pub fn arm(&mut self, slot: usize, time: Ns) {
        assert!(time != NEVER, "the end of time cannot be reached");
        if self.times[slot] != time {
            self.times[slot] = time;
            self.replay(slot);
        }
    }

    /// Cancels `slot` if it is armed.
    #[inline]
    pub fn cancel(&mut self, slot: usize) {
        if self.times[slot] != NEVER {
            self.times[slot] = NEVER;
            self.replay(slot);
        }
    }

    /// For when `slot` is armed, if it is.
    #[inline]
    pub fn armed(&self, slot: usize) -> Option<Ns> {
        Some(self.times[slot]).filter(|&time| time != NEVER)
    }

    /// The next event: its time and its slot.
    #[inline]
    pub fn next(&self) -> Option<(Ns, usize)> {
        let slot = self.winners[1] as usize;
        self.armed(slot).map(|time| (time, slot))
    }

    /// Plays the matches of `slot` again, up to the first whose winner was and stays another slot.
    #[inline]
    fn replay(&mut self, slot: usize) {
        let leaves = self.times.len();
        let mut node = (leaves + slot) / 2;
        while node != 0 {
            let before = self.winners[node] as usize;
            let after = self.play(node);
            self.winners[node] = after as u32;
            if before != slot && after == before {
                return;
            }
            node /= 2;
        }
    }

    /// Who wins at `node`: the earlier of the two below, the left one if they are equal.
    #[inline]
    fn play(&self, node: usize) -> usize {
        let leaves = self.times.len();
        let (left, right) = if 2 * node >= leaves {
            (2 * node - leaves, 2 * node + 1 - leaves)
        } else {
            (self.winners[2 * node] as usize, self.winners[2 * node + 1] as usize)
        };
        if self.times[right] < self.times[left] { right } else { left }
    }

    fn rebuild(&mut self) {
        self.winners.resize(self.times.len(), 0);
        for node in (1..self.times.len()).rev() {
            self.winners[node] = self.play(node) as u32;
        }
    }
}

/// What can happen on a CPU. The order is the order of events at equal times, all CPUs of a kind in CPU order.
///
/// What belongs to the interrupt that is ending comes first: softirq, then the entry into idle, then the reschedule.
/// The stopper preempts, so it precedes the program. A program that is done at an instant is done before interrupts
/// of the same instant: else a task with nothing left to do could be preempted. Ticks follow, then the timers of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The balancing softirq.
    Softirq,
    /// The idle loop is entered.
    IdleEnter,
    /// The CPU reschedules.
    Resched,
    /// The stopper thread runs.
    Stopper,
    /// The running task has executed what it had to, and its program goes on.
    Burst,
    /// The interrupt that announces remote wake-ups arrives.
    WakeList,
    /// The interrupt that asks to balance for idle CPUs arrives.
    NohzKick,
    /// The scheduler tick.
    Tick,
}

/// All kinds, in slot order.
const KINDS: [Kind; 8] = [
    Kind::Softirq,
    Kind::IdleEnter,
    Kind::Resched,
    Kind::Stopper,
    Kind::Burst,
    Kind::WakeList,
    Kind::NohzKick,
    Kind::Tick,
];

/// An event of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Something of this kind on a CPU.
    Cpu(Kind, CpuId),
    /// The next change from outside.
    Timeline,
    /// The checker of work conservation looks.
    Checker,
    /// A task's own timer expires.
    Task(TaskId),
}

/// The event queue of a machine: [`Tournament`] with slots by CPU and kind, then the two of the run, then tasks.
#[derive(Clone, Debug)]
pub struct Timers {
    tree: Tournament,
    ncpus: usize,
}

impl Timers {
    /// The queue of a machine with `ncpus` CPUs and room for `tasks` tasks at first.
    pub fn new(ncpus: usize, tasks: usize) -> Self {
        Self { tree: Tournament::new(KINDS.len() * ncpus + 2 + tasks), ncpus }
    }

    /// Makes room for tasks below `tasks`.
    pub fn grow(&mut self, tasks: usize) {
        self.tree.grow(self.first_task() + tasks);
    }

    /// Arms `timer` for `time`, wherever it was before.
    #[inline]
    pub fn arm(&mut self, timer: Timer, time: Ns) {
        self.tree.arm(self.slot(timer), time);
    }

    /// Arms `timer` for `time` unless it is due earlier.
    #[inline]
    pub fn arm_by(&mut self, timer: Timer, time: Ns) {
        let slot = self.slot(timer);
        if self.tree.armed(slot).is_none_or(|armed| armed > time) {
            self.tree.arm(slot, time);
        }
    }

    /// Cancels `timer` if it is armed.
    #[inline]
    pub fn cancel(&mut self, timer: Timer) {
        self.tree.cancel(self.slot(timer));
    }

    /// For when `timer` is armed, if it is.
    #[inline]
    pub fn armed(&self, timer: Timer) -> Option<Ns> {
        self.tree.armed(self.slot(timer))
    }

    /// The next event and its time; it stays armed.
    #[inline]
    pub fn next(&self) -> Option<(Ns, Timer)> {
        self.tree.next().map(|(time, slot)| (time, self.timer(slot)))
    }

    fn first_task(&self) -> usize {
        KINDS.len() * self.ncpus + 2
    }

    #[inline]
    fn slot(&self, timer: Timer) -> usize {
        let fixed = KINDS.len() * self.ncpus;
        match timer {
            Timer::Cpu(kind, cpu) => kind as usize * self.ncpus + cpu.index(),
            Timer::Timeline => fixed,
            Timer::Checker => fixed + 1,
            Timer::Task(task) => fixed + 2 + task.index(),
        }
    }

    #[inline]
    fn timer(&self, slot: usize) -> Timer {
        let fixed = KINDS.len() * self.ncpus;
        match slot.checked_sub(fixed) {
            None => Timer::Cpu(KINDS[slot / self.ncpus], CpuId((slot % self.ncpus) as u32)),
            Some(0) => Timer::Timeline,
            Some(1) => Timer::Checker,
            Some(task) => Timer::Task(TaskId((task - 2) as u32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// The obvious queue: a heap of (time, slot) whose outdated entries are dropped when they surface.
    #[derive(Default)]
    struct Model {
        heap: BinaryHeap<Reverse<(Ns, usize)>>,
        times: Vec<Option<Ns>>,
    }

    impl Model {
        fn set(&mut self, slot: usize, time: Option<Ns>) {
            self.times.resize(self.times.len().max(slot + 1), None);
            self.times[slot] = time;
            self.heap.extend(time.map(|time| Reverse((time, slot))));
        }
        fn next(&mut self) -> Option<(Ns, usize)> {
            while let Some(&Reverse((time, slot))) = self.heap.peek() {
                if self.times[slot] == Some(time) {
                    return Some((time, slot));
                }
                self.heap.pop();
            }
            None
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_binary_heap(
            first in 1usize..40,
            ops in prop::collection::vec((0usize..150, prop::option::of(0u64..20), any::<bool>()), 1..200),
        ) {
            let mut tree = Tournament::new(first);
            let mut model = Model::default();
            for (slot, time, pop) in ops {
                tree.grow(slot + 1);
                match time {
                    Some(time) => tree.arm(slot, time),
                    None => tree.cancel(slot),
                }
                model.set(slot, time);
                prop_assert_eq!(tree.armed(slot), time);
                prop_assert_eq!(tree.next(), model.next());
                if let Some((_, slot)) = tree.next().filter(|_| pop) {
                    tree.cancel(slot);
                    model.set(slot, None);
                    prop_assert_eq!(tree.next(), model.next());
                }
            }
        }
    }

    #[test]
    fn every_slot_names_its_timer_and_kinds_keep_their_order() {
        let timers = Timers::new(3, 2);
        let last = timers.slot(Timer::Task(TaskId(1)));
        assert_eq!(last, KINDS.len() * 3 + 3);
        for slot in 0..=last {
            assert_eq!(timers.slot(timers.timer(slot)), slot);
        }
        let cpu = CpuId(2);
        let mut timers = timers;
        for kind in KINDS {
            timers.arm(Timer::Cpu(kind, cpu), 7);
        }
        timers.arm(Timer::Task(TaskId(0)), 7);
        let mut order = Vec::new();
        while let Some((_, timer)) = timers.next() {
            timers.cancel(timer);
            order.push(timer);
        }
        let mut expected: Vec<Timer> = KINDS.iter().map(|&kind| Timer::Cpu(kind, cpu)).collect();
        expected.push(Timer::Task(TaskId(0)));
        assert_eq!(order, expected);
    }

    #[test]
    fn an_earlier_time_is_kept_by_arm_by() {
        let mut timers = Timers::new(1, 0);
        let timer = Timer::Cpu(Kind::Resched, CpuId(0));
        timers.arm_by(timer, 10);
        timers.arm_by(timer, 20);
        assert_eq!(timers.armed(timer), Some(10));
        timers.arm_by(timer, 5);
        assert_eq!(timers.next(), Some((5, timer)));
    }
}
