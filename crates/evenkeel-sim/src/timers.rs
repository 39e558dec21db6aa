//! The event queue: one slot per thing that can happen, and a tournament tree that knows which is next.
//!
//! A machine has few *kinds* of pending events, and of each kind at most one per CPU or task: one tick, one end of the
//! running burst, one reschedule interrupt ... So every event has its fixed slot, arming a slot again moves it, and
//! there is nothing to delete lazily. Setting a slot costs at most `log2(slots)` comparisons: on 64 CPUs with 1000
//! tasks, 2048 leaves and 11 levels, of which most updates visit three or four.
//!
//! **Order at equal times is the order of the slots**, lowest first; [`Kind`] says why they are laid out as they are.
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::GroupTimer;
use evenkeel::time::Ns;

/// The time of a slot that is not armed.
const NEVER: Ns = Ns::MAX;

/// A slot with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    time: Ns,
    slot: u32,
}

/// A tournament tree over numbered slots: arm, move and cancel in place; the earliest, then lowest, slot wins.
#[derive(Clone, Debug)]
pub struct Tournament {
    /// A heap-shaped tree with the root at 1 and the slots as leaves in its second half; inner nodes hold the winner
    /// below them.
    nodes: Vec<Entry>,
}

impl Tournament {
    /// Room for at least `slots` slots, none armed.
    pub fn new(slots: usize) -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.rebuild(slots.next_power_of_two().max(2));
        tree
    }

    /// Makes room for at least `slots` slots; those that exist keep their times.
    pub fn grow(&mut self, slots: usize) {
        if slots > self.leaves() {
            self.rebuild(slots.next_power_of_two());
        }
    }

    /// Arms `slot` for `time`, wherever it was before.
    #[inline]
    pub fn arm(&mut self, slot: usize, time: Ns) {
        assert!(time != NEVER, "the end of time cannot be reached");
        self.set(slot, time);
    }

    /// Cancels `slot` if it is armed.
    #[inline]
    pub fn cancel(&mut self, slot: usize) {
        self.set(slot, NEVER);
    }

    /// For when `slot` is armed, if it is.
    #[inline]
    pub fn armed(&self, slot: usize) -> Option<Ns> {
        Some(self.nodes[self.leaves() + slot].time).filter(|&time| time != NEVER)
    }

    /// The next event: its time and its slot.
    #[inline]
    pub fn next(&self) -> Option<(Ns, usize)> {
        let winner = self.nodes[1];
        (winner.time != NEVER).then_some((winner.time, winner.slot as usize))
    }

    #[inline]
    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    /// Sets a leaf and plays the matches above it again, up to the first whose result stays the same.
    #[inline]
    fn set(&mut self, slot: usize, time: Ns) {
        let mut node = self.leaves() + slot;
        if self.nodes[node].time == time {
            return;
        }
        let mut entry = Entry { time, slot: slot as u32 };
        self.nodes[node] = entry;
        while node > 1 {
            let other = self.nodes[node ^ 1];
            // Equal times: the left one wins, which has the lower slots.
            let loses = if node & 1 == 0 { other.time < entry.time } else { other.time <= entry.time };
            entry = if loses { other } else { entry };
            node /= 2;
            if self.nodes[node] == entry {
                return;
            }
            self.nodes[node] = entry;
        }
    }

    fn rebuild(&mut self, leaves: usize) {
        let old = self.leaves();
        let empty = |slot: usize| Entry { time: NEVER, slot: slot as u32 };
        let mut nodes: Vec<Entry> = (0..leaves).chain(0..leaves).map(empty).collect();
        nodes[leaves..leaves + old].copy_from_slice(&self.nodes[old..]);
        for node in (1..leaves).rev() {
            let (left, right) = (nodes[2 * node], nodes[2 * node + 1]);
            nodes[node] = if right.time < left.time { right } else { left };
        }
        self.nodes = nodes;
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
    /// The timer that ends slices.
    Hrtick,
    /// The interrupt that lets throttled queues go on arrives.
    Unthrottle,
    /// The timer of what limits real-time and deadline tasks.
    LimitTimer,
    /// The scheduler tick.
    Tick,
}

/// All kinds, in slot order.
pub(crate) const KINDS: [Kind; 11] = [
    Kind::Softirq,
    Kind::IdleEnter,
    Kind::Resched,
    Kind::Stopper,
    Kind::Burst,
    Kind::WakeList,
    Kind::NohzKick,
    Kind::Hrtick,
    Kind::Unthrottle,
    Kind::LimitTimer,
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
    /// A device interrupts.
    Device(u32),
    /// A timer of a limited task group expires.
    Group(TgId, GroupTimer),
    /// A task's own timer expires.
    Task(TaskId),
}

/// The event queue of a machine: [`Tournament`] with slots by CPU and kind, then the two of the run, then groups, then tasks.
///
/// Much of what is armed is due at once (softirqs, reschedules of the own CPU, programs that go on): that is kept aside
/// in a short sorted list, which spares the tree two updates for each.
#[derive(Clone, Debug)]
pub struct Timers {
    tree: Tournament,
    /// There are `2^kind_bits` slots of each kind: the number of CPUs, rounded up to a power of two.
    kind_bits: u32,
    /// How many task groups there are.
    groups: usize,
    /// How many devices.
    devices: usize,
    /// The time of the event that is being processed.
    now: Ns,
    /// Slots due `now` that are not in the tree, highest first.
    due: Vec<u32>,
}

impl Timers {
    /// The queue of a machine with `ncpus` CPUs, `groups` task groups and `devices` that interrupt, and room for `tasks` tasks at first.
    pub fn new(ncpus: usize, groups: usize, devices: usize, tasks: usize) -> Self {
        let kind_bits = ncpus.next_power_of_two().ilog2();
        let slots = (KINDS.len() << kind_bits) + 2 + 2 * groups + devices + tasks;
        Self { tree: Tournament::new(slots), kind_bits, groups, devices, now: 0, due: Vec::new() }
    }

    /// Makes room for tasks below `tasks`.
    pub fn grow(&mut self, tasks: usize) {
        self.tree.grow(self.first_task() + tasks);
    }

    /// Arms `timer` for `time`, wherever it was before; not earlier than the last event that [`Timers::begin`] began.
    #[inline]
    pub fn arm(&mut self, timer: Timer, time: Ns) {
        debug_assert!(time >= self.now);
        let slot = self.slot(timer);
        if time != self.now {
            self.take_due(slot);
            self.tree.arm(slot, time);
        } else if self.tree.armed(slot) != Some(time) {
            self.tree.cancel(slot);
            let at = self.due.partition_point(|&other| other as usize > slot);
            if self.due.get(at) != Some(&(slot as u32)) {
                self.due.insert(at, slot as u32);
            }
        }
    }

    /// Arms `timer` for `time` unless it is due earlier.
    #[inline]
    pub fn arm_by(&mut self, timer: Timer, time: Ns) {
        if self.armed(timer).is_none_or(|armed| armed > time) {
            self.arm(timer, time);
        }
    }

    /// Cancels `timer` if it is armed.
    #[inline]
    pub fn cancel(&mut self, timer: Timer) {
        let slot = self.slot(timer);
        if !self.take_due(slot) {
            self.tree.cancel(slot);
        }
    }

    /// For when `timer` is armed, if it is.
    #[inline]
    pub fn armed(&self, timer: Timer) -> Option<Ns> {
        let slot = self.slot(timer);
        if self.due.contains(&(slot as u32)) { Some(self.now) } else { self.tree.armed(slot) }
    }

    /// The next event and its time; it stays armed.
    #[inline]
    pub fn next(&self) -> Option<(Ns, Timer)> {
        let (time, slot) = match (self.due.last(), self.tree.next()) {
            (Some(&due), Some((time, slot))) if time == self.now && slot < due as usize => (time, slot),
            (Some(&due), _) => (self.now, due as usize),
            (None, next) => next?,
        };
        Some((time, self.timer(slot)))
    }

    /// Time goes on to that of the next event.
    #[inline]
    pub fn begin(&mut self, time: Ns) {
        debug_assert!(time == self.now || self.due.is_empty(), "what is due comes first");
        self.now = time;
    }

    /// The same where events may be late: what was due and is not done yet stays armed for its time, now past.
    pub(crate) fn begin_late(&mut self, time: Ns) {
        if time != self.now {
            while let Some(slot) = self.due.pop() {
                self.tree.arm(slot as usize, self.now);
            }
        }
        self.now = time;
    }

    /// Removes a slot from those due now, if it is one.
    #[inline]
    fn take_due(&mut self, slot: usize) -> bool {
        let at = self.due.iter().position(|&due| due as usize == slot);
        at.map(|at| self.due.remove(at)).is_some()
    }

    /// The first slot that is not one of a CPU.
    #[inline]
    fn fixed(&self) -> usize {
        KINDS.len() << self.kind_bits
    }

    fn first_task(&self) -> usize {
        self.first_device() + self.devices
    }

    fn first_device(&self) -> usize {
        self.fixed() + 2 + 2 * self.groups
    }

    #[inline]
    fn slot(&self, timer: Timer) -> usize {
        match timer {
            Timer::Cpu(kind, cpu) => ((kind as usize) << self.kind_bits) + cpu.index(),
            Timer::Timeline => self.fixed(),
            Timer::Checker => self.fixed() + 1,
            Timer::Group(group, timer) => self.fixed() + 2 + 2 * group.index() + timer as usize,
            Timer::Device(index) => self.first_device() + index as usize,
            Timer::Task(task) => self.first_task() + task.index(),
        }
    }

    #[inline]
    fn timer(&self, slot: usize) -> Timer {
        match slot.checked_sub(self.fixed()) {
            None => {
                let kind = KINDS[slot >> self.kind_bits];
                Timer::Cpu(kind, CpuId((slot & ((1 << self.kind_bits) - 1)) as u32))
            }
            Some(0) => Timer::Timeline,
            Some(1) => Timer::Checker,
            Some(other) => match (other - 2).checked_sub(2 * self.groups) {
                Some(other) => match other.checked_sub(self.devices) {
                    Some(task) => Timer::Task(TaskId(task as u32)),
                    None => Timer::Device(other as u32),
                },
                None => {
                    let timer = if other % 2 == 0 { GroupTimer::Period } else { GroupTimer::Slack };
                    Timer::Group(TgId::from_index(other / 2 - 1), timer)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cmp::Reverse;
    use proptest::prelude::*;
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

    proptest! {
        #[test]
        fn what_is_due_at_once_keeps_the_order_of_slots(
            ops in prop::collection::vec((0usize..26, prop::option::of(0u64..3), any::<bool>()), 1..200),
        ) {
            let mut timers = Timers::new(2, 3, 2, 8);
            let mut model = Model::default();
            for (slot, delay, pop) in ops {
                let timer = timers.timer(slot);
                let time = delay.map(|delay| timers.now + delay);
                match time {
                    Some(time) => timers.arm(timer, time),
                    None => timers.cancel(timer),
                }
                model.set(slot, time);
                prop_assert_eq!(timers.armed(timer), time);
                let expected = model.next();
                prop_assert_eq!(timers.next(), expected.map(|(time, slot)| (time, timers.timer(slot))));
                if let Some((time, slot)) = expected.filter(|_| pop) {
                    timers.begin(time);
                    timers.cancel(timers.timer(slot));
                    model.set(slot, None);
                }
            }
        }
    }

    #[test]
    fn every_slot_names_its_timer_and_kinds_keep_their_order() {
        let timers = Timers::new(3, 3, 2, 2);
        let last = timers.slot(Timer::Task(TaskId(1)));
        assert_eq!(last, KINDS.len() * 4 + 11, "room for 4 CPUs, 2 timers, 3 groups, 2 devices and 2 tasks");
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
        let mut timers = Timers::new(1, 3, 2, 0);
        let timer = Timer::Cpu(Kind::Resched, CpuId(0));
        timers.arm_by(timer, 10);
        timers.arm_by(timer, 20);
        assert_eq!(timers.armed(timer), Some(10));
        timers.arm_by(timer, 5);
        assert_eq!(timers.next(), Some((5, timer)));
    }
}
