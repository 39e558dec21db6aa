//! Work conservation: is a CPU idle while a task that may run there waits elsewhere?
//!
//! Two answers, as the literature gives them:
//! * [`Integral`]: at every instant, how many idle CPUs could be filled with waiting tasks; summed over time. One CPU
//!   idle for 3 ms while one task waits is 3 ms; two idle CPUs and one waiting task still count once.
//! * [`Checker`]: the one of the "wasted cores" paper. Once a second it notes which CPUs are idle and which have tasks
//!   waiting; what has not cleared up after 100 ms is reported. Short violations, which every scheduler has, are not.
//!
//! Affinity counts: a waiting task only counts against idle CPUs it may use. Waiting tasks that may use every CPU are
//! only counted, so the usual case costs nothing; pinned ones are matched greedily, those with the fewest choices
//! first, which is exact where affinities are disjoint or nested and a lower bound elsewhere.
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::mask::CpuMask;
use evenkeel::time::Ns;
use std::sync::Arc;

/// The instantaneous integral.
#[derive(Clone, Debug)]
pub(crate) struct Integral {
    idle: CpuMask,
    nr_idle: usize,
    /// Waiting tasks that may run everywhere.
    waiting_free: usize,
    /// The others, by number of CPUs they may use, then by number.
    waiting_pinned: Vec<(u32, TaskId, Arc<CpuMask>)>,
    /// Idle CPUs that could be filled now; `None` if that has to be counted again.
    fillable: Option<usize>,
    since: Ns,
    /// CPU time wasted so far.
    wasted: Ns,
    /// Time during which any was wasted.
    violated: Ns,
    scratch: CpuMask,
}

impl Integral {
    /// All of `ncpus` CPUs idle, nobody waiting.
    pub(crate) fn new(ncpus: usize) -> Self {
        Self {
            idle: CpuMask::all(ncpus),
            nr_idle: ncpus,
            waiting_free: 0,
            waiting_pinned: Vec::new(),
            fillable: Some(0),
            since: 0,
            wasted: 0,
            violated: 0,
            scratch: CpuMask::new(ncpus),
        }
    }

    /// The idle CPUs.
    pub(crate) fn idle(&self) -> &CpuMask {
        &self.idle
    }

    /// Time goes on to `now`; must precede every change.
    #[inline]
    pub(crate) fn advance(&mut self, now: Ns) {
        if now == self.since {
            return;
        }
        let fillable = match self.fillable {
            Some(fillable) => fillable,
            None => self.count(),
        };
        let span = now - self.since;
        self.since = now;
        self.wasted += fillable as u64 * span;
        self.violated += if fillable > 0 { span } else { 0 };
    }

    /// A CPU becomes idle or busy.
    #[inline]
    pub(crate) fn set_idle(&mut self, cpu: CpuId, idle: bool) {
        self.fillable = None;
        if idle {
            self.idle.set(cpu);
            self.nr_idle += 1;
        } else {
            self.idle.clear(cpu);
            self.nr_idle -= 1;
        }
    }

    /// A task starts to wait; `pinned` says where it may run if not everywhere.
    #[inline]
    pub(crate) fn wait(&mut self, task: TaskId, pinned: Option<&Arc<CpuMask>>) {
        self.fillable = None;
        match pinned {
            None => self.waiting_free += 1,
            Some(allowed) => {
                let weight = allowed.weight();
                let at = self.waiting_pinned.partition_point(|entry| (entry.0, entry.1) < (weight, task));
                self.waiting_pinned.insert(at, (weight, task, allowed.clone()));
            }
        }
    }

    /// A task no longer waits.
    #[inline]
    pub(crate) fn wait_ends(&mut self, task: TaskId, pinned: bool) {
        self.fillable = None;
        if pinned {
            self.waiting_pinned.retain(|entry| entry.1 != task);
        } else {
            self.waiting_free -= 1;
        }
    }

    /// CPU time wasted, and time during which some was.
    pub(crate) fn totals(&self) -> (Ns, Ns) {
        (self.wasted, self.violated)
    }

    /// How many idle CPUs could be filled.
    fn count(&mut self) -> usize {
        let mut matched = 0;
        if self.nr_idle > 0 && !self.waiting_pinned.is_empty() {
            self.scratch.copy_from(&self.idle);
            for (_, _, allowed) in &self.waiting_pinned {
                if let Some(cpu) = self.scratch.first_and(allowed) {
                    self.scratch.clear(cpu);
                    matched += 1;
                }
            }
        }
        let fillable = matched + self.waiting_free.min(self.nr_idle - matched);
        self.fillable = Some(fillable);
        fillable
    }
}

/// How often the checker looks.
pub const CHECK_EVERY: Ns = 1_000_000_000;
/// How long a violation has to last to be reported.
pub const CHECK_LASTS: Ns = 100_000_000;

/// A violation of work conservation that lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was first seen.
    pub at: Ns,
    /// A CPU that was idle all the time since.
    pub idle_cpu: CpuId,
    /// A CPU on which tasks waited all the time since.
    pub busy_cpu: CpuId,
    /// A task that waits there and may run on the idle CPU.
    pub task: TaskId,
    /// How many CPUs were idle all the time.
    pub idle_cpus: u32,
    /// How many CPUs had tasks waiting all the time.
    pub busy_cpus: u32,
}

/// The checker of the "wasted cores" paper.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    /// CPUs idle since the look; meaningful while `watching`.
    idle: CpuMask,
    /// CPUs with waiting tasks since the look.
    busy: CpuMask,
    ncpus: u32,
    watching: Option<Ns>,
    found: Vec<Violation>,
    looks: u64,
}

impl Checker {
    /// Nothing seen yet.
    pub(crate) fn new(ncpus: usize) -> Self {
        Self {
            idle: CpuMask::new(ncpus),
            busy: CpuMask::new(ncpus),
            ncpus: ncpus as u32,
            watching: None,
            found: Vec::new(),
            looks: 0,
        }
    }

    /// The checker's timer: looks, or looks again. `waiting(cpu)` lists the tasks that wait on a CPU with their
    /// affinity. Answers when to be called again.
    pub(crate) fn look<'a, I>(&mut self, now: Ns, idle: &CpuMask, waiting: impl Fn(CpuId) -> I) -> Ns
    where
        I: Iterator<Item = (TaskId, &'a CpuMask)>,
    {
        if let Some(at) = self.watching.take() {
            if let Some(violation) = self.still(at, &waiting) {
                self.found.push(violation);
            }
            return at + CHECK_EVERY;
        }
        self.looks += 1;
        if idle.is_empty() {
            return now + CHECK_EVERY;
        }
        self.idle.copy_from(idle);
        self.busy.clear_all();
        for cpu in (0..self.ncpus).map(CpuId).filter(|&cpu| !idle.contains(cpu)) {
            if waiting(cpu).any(|(_, allowed)| allowed.intersects(idle)) {
                self.busy.set(cpu);
            }
        }
        if self.busy.is_empty() {
            return now + CHECK_EVERY;
        }
        self.watching = Some(now);
        now + CHECK_LASTS
    }

    /// Something switched or ticked on `cpu`, which is idle or not, and has `runnable` tasks.
    #[inline]
    pub(crate) fn seen(&mut self, cpu: CpuId, idle: bool, runnable: u32) {
        if self.watching.is_some() {
            if !idle {
                self.idle.clear(cpu);
            }
            if runnable < 2 {
                self.busy.clear(cpu);
            }
        }
    }

    /// Whether a watch is on: [`Checker::seen`] has to be called.
    #[inline]
    pub(crate) fn watching(&self) -> bool {
        self.watching.is_some()
    }

    /// What was reported.
    pub(crate) fn found(&self) -> &[Violation] {
        &self.found
    }

    /// How often it looked.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    /// The violation seen at `at`, if it has lasted.
    fn still<'a, I>(&self, at: Ns, waiting: impl Fn(CpuId) -> I) -> Option<Violation>
    where
        I: Iterator<Item = (TaskId, &'a CpuMask)>,
    {
        let on =
            |cpu: CpuId| waiting(cpu).find_map(|(task, allowed)| Some((task, self.idle.first_and(allowed)?)));
        let mut busy = self.busy.iter().filter_map(|cpu| on(cpu).map(|(task, idle)| (cpu, task, idle)));
        let (busy_cpu, task, idle_cpu) = busy.next()?;
        Some(Violation {
            at,
            idle_cpu,
            busy_cpu,
            task,
            idle_cpus: self.idle.weight(),
            busy_cpus: 1 + busy.count() as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(list: &str) -> Arc<CpuMask> {
        Arc::new(CpuMask::parse_list(list, 4).unwrap())
    }

    #[test]
    fn idle_time_counts_as_far_as_waiting_tasks_could_fill_it() {
        let mut integral = Integral::new(4);
        for cpu in 0..2 {
            integral.set_idle(CpuId(cpu), false);
        }
        integral.wait(TaskId(0), None);
        integral.advance(10);
        assert_eq!(integral.totals(), (10, 10));
        integral.wait(TaskId(1), Some(&mask("0-1")));
        integral.advance(20);
        assert_eq!(integral.totals(), (20, 20), "a task pinned to busy CPUs cannot fill an idle one");
        integral.wait(TaskId(2), Some(&mask("2")));
        integral.wait(TaskId(3), Some(&mask("2-3")));
        integral.advance(21);
        assert_eq!(integral.totals(), (22, 21), "two idle CPUs and three tasks for them");
        integral.set_idle(CpuId(3), false);
        integral.wait_ends(TaskId(0), false);
        integral.advance(24);
        assert_eq!(integral.totals(), (25, 24));
        integral.wait_ends(TaskId(2), true);
        integral.wait_ends(TaskId(3), true);
        integral.advance(100);
        assert_eq!(integral.totals(), (25, 24));
    }

    #[test]
    fn the_checker_reports_what_lasts() {
        let idle = CpuMask::parse_list("1,3", 4).unwrap();
        let (free, pinned) = (CpuMask::all(4), CpuMask::parse_list("0,2", 4).unwrap());
        let waiting = |cpu: CpuId| match cpu.0 {
            0 => vec![(TaskId(5), &pinned)].into_iter(),
            2 => vec![(TaskId(6), &pinned), (TaskId(7), &free)].into_iter(),
            _ => vec![].into_iter(),
        };
        let mut checker = Checker::new(4);
        assert_eq!(checker.look(CHECK_EVERY, &idle, waiting), CHECK_EVERY + CHECK_LASTS);
        checker.seen(CpuId(1), false, 1);
        assert_eq!(checker.look(CHECK_EVERY + CHECK_LASTS, &idle, waiting), 2 * CHECK_EVERY);
        let expected = Violation {
            at: CHECK_EVERY,
            idle_cpu: CpuId(3),
            busy_cpu: CpuId(2),
            task: TaskId(7),
            idle_cpus: 1,
            busy_cpus: 1,
        };
        assert_eq!(checker.found(), [expected]);

        checker.look(2 * CHECK_EVERY, &idle, waiting);
        checker.seen(CpuId(2), false, 1);
        checker.look(2 * CHECK_EVERY + CHECK_LASTS, &idle, waiting);
        assert_eq!(checker.found().len(), 1, "the queue was emptied in between");
        assert_eq!(checker.looks(), 2);
    }

    #[test]
    fn the_checker_ignores_tasks_that_may_not_run_on_idle_cpus() {
        let idle = CpuMask::parse_list("1", 4).unwrap();
        let pinned = CpuMask::parse_list("0", 4).unwrap();
        let mut checker = Checker::new(4);
        assert_eq!(checker.look(7, &idle, |_| [(TaskId(0), &pinned)].into_iter()), 7 + CHECK_EVERY);
    }
}
