//! Work conservation: is a CPU idle while a task that may run there waits elsewhere?
//!
//! Two answers, as the literature gives them:
//! * the *integral*: at every instant, how many idle CPUs could be filled with waiting tasks; summed over time. One CPU
//!   idle for 3 ms while one task waits is 3 ms; two idle CPUs and one waiting task still count once.
//! * the *checker*: the one of the "wasted cores" paper. Once a second it notes which CPUs are idle and which have tasks
//!   waiting; what has not cleared up after 100 ms is reported. Short violations, which every scheduler has, are not.
//!
//! Affinity counts: a waiting task only counts against idle CPUs it may use. Waiting tasks that may use every CPU, and
//! those pinned to one, are only counted, so the usual cases cost nothing; others are matched greedily, set by set, those
//! with the fewest CPUs first, which is exact where affinities are disjoint or nested and a lower bound elsewhere.
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::mask::CpuMask;
use evenkeel::time::Ns;
use std::sync::Arc;

/// How many tasks with one affinity wait.
#[derive(Clone, Debug)]
struct Waiting {
    weight: u32,
    allowed: Arc<CpuMask>,
    count: usize,
}

/// The instantaneous integral.
#[derive(Clone, Debug)]
pub(crate) struct Integral {
    idle: CpuMask,
    nr_idle: usize,
    /// Waiting tasks that may run everywhere.
    free: usize,
    /// Waiting tasks pinned to one CPU, by CPU.
    single: Vec<u32>,
    /// Idle CPUs with such tasks.
    idle_single: usize,
    /// All other waiting tasks by affinity, smallest sets first; sets once met stay, with count 0.
    sets: Vec<Waiting>,
    /// How many those are.
    in_sets: usize,
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
            free: 0,
            single: vec![0; ncpus],
            idle_single: 0,
            sets: Vec::new(),
            in_sets: 0,
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
        let single = usize::from(self.single[cpu.index()] > 0);
        if idle {
            self.idle.set(cpu);
            self.nr_idle += 1;
            self.idle_single += single;
        } else {
            self.idle.clear(cpu);
            self.nr_idle -= 1;
            self.idle_single -= single;
        }
    }

    /// A task starts to wait; `pinned` says where it may run if not everywhere.
    #[inline]
    pub(crate) fn wait(&mut self, pinned: Option<&Arc<CpuMask>>) {
        self.fillable = None;
        match pinned {
            None => self.free += 1,
            Some(allowed) => self.wait_pinned(allowed),
        }
    }

    /// A task no longer waits.
    #[inline]
    pub(crate) fn wait_ends(&mut self, pinned: Option<&Arc<CpuMask>>) {
        self.fillable = None;
        match pinned {
            None => self.free -= 1,
            Some(allowed) => self.wait_pinned_ends(allowed),
        }
    }

    /// CPU time wasted, and time during which some was.
    pub(crate) fn totals(&self) -> (Ns, Ns) {
        (self.wasted, self.violated)
    }

    fn wait_pinned(&mut self, allowed: &Arc<CpuMask>) {
        if let Some(cpu) = only(allowed) {
            let count = &mut self.single[cpu.index()];
            *count += 1;
            self.idle_single += usize::from(*count == 1 && self.idle.contains(cpu));
            return;
        }
        let at = self.set_of(allowed).unwrap_or_else(|at| {
            let set = Waiting { weight: allowed.weight(), allowed: allowed.clone(), count: 0 };
            self.sets.insert(at, set);
            at
        });
        self.sets[at].count += 1;
        self.in_sets += 1;
    }

    fn wait_pinned_ends(&mut self, allowed: &Arc<CpuMask>) {
        if let Some(cpu) = only(allowed) {
            let count = &mut self.single[cpu.index()];
            *count -= 1;
            self.idle_single -= usize::from(*count == 0 && self.idle.contains(cpu));
            return;
        }
        let at = self.set_of(allowed).expect("the task was waiting");
        self.sets[at].count -= 1;
        self.in_sets -= 1;
    }

    /// Where the set is, or belongs.
    fn set_of(&self, allowed: &CpuMask) -> Result<usize, usize> {
        let weight = allowed.weight();
        self.sets.binary_search_by(|set| (set.weight, &*set.allowed).cmp(&(weight, allowed)))
    }

    /// How many idle CPUs could be filled.
    fn count(&mut self) -> usize {
        let mut matched = self.idle_single;
        if self.in_sets > 0 && self.nr_idle > matched {
            self.scratch.copy_from(&self.idle);
            if matched > 0 {
                let single = self.single.iter().enumerate().filter(|(_, count)| **count > 0);
                single.for_each(|(cpu, _)| self.scratch.clear(CpuId::from_index(cpu)));
            }
            for set in &self.sets {
                for _ in 0..set.count {
                    let Some(cpu) = self.scratch.first_and(&set.allowed) else { break };
                    self.scratch.clear(cpu);
                    matched += 1;
                }
            }
        }
        let fillable = matched + self.free.min(self.nr_idle - matched);
        self.fillable = Some(fillable);
        fillable
    }
}

/// The only CPU of a set, if it has but one.
fn only(allowed: &CpuMask) -> Option<CpuId> {
    allowed.first().filter(|&first| allowed.last() == Some(first))
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
    use proptest::prelude::*;

    fn mask(list: &str) -> Arc<CpuMask> {
        Arc::new(CpuMask::parse_list(list, 4).unwrap())
    }

    #[test]
    fn idle_time_counts_as_far_as_waiting_tasks_could_fill_it() {
        let mut integral = Integral::new(4);
        for cpu in 0..2 {
            integral.set_idle(CpuId(cpu), false);
        }
        integral.wait(None);
        integral.advance(10);
        assert_eq!(integral.totals(), (10, 10));
        integral.wait(Some(&mask("0-1")));
        integral.advance(20);
        assert_eq!(integral.totals(), (20, 20), "a task pinned to busy CPUs cannot fill an idle one");
        integral.wait(Some(&mask("2")));
        integral.wait(Some(&mask("2-3")));
        integral.advance(21);
        assert_eq!(integral.totals(), (22, 21), "two idle CPUs and three tasks for them");
        integral.set_idle(CpuId(3), false);
        integral.wait_ends(None);
        integral.advance(24);
        assert_eq!(integral.totals(), (25, 24));
        integral.wait_ends(Some(&mask("2")));
        integral.wait_ends(Some(&mask("2-3")));
        integral.advance(100);
        assert_eq!(integral.totals(), (25, 24));
    }

    proptest! {
        /// Against the best matching, found by trying all. Chains of sets: the greedy matching is exact.
        #[test]
        fn nested_affinities_are_matched_exactly(
            idle in prop::collection::vec(any::<bool>(), 4),
            tasks in prop::collection::vec(0usize..6, 0..6),
        ) {
            let sets = ["2", "2-3", "0", "0-1", "1", "0-3"];
            let mut integral = Integral::new(4);
            let pinned = |set: usize| (set != 5).then(|| mask(sets[set]));
            for (cpu, &idle) in idle.iter().enumerate() {
                if !idle {
                    integral.set_idle(CpuId(cpu as u32), false);
                }
            }
            tasks.iter().for_each(|&set| integral.wait(pinned(set).as_ref()));
            integral.advance(1);
            let allowed: Vec<Arc<CpuMask>> = tasks.iter().map(|&set| mask(sets[set])).collect();
            let free = CpuMask::from_cpus(4, (0..4).filter(|&cpu| idle[cpu as usize]).map(CpuId));
            prop_assert_eq!(integral.totals().0, best(&allowed, &free));
            tasks.iter().for_each(|&set| integral.wait_ends(pinned(set).as_ref()));
            integral.advance(2);
            prop_assert_eq!(integral.totals().0, best(&allowed, &free), "nobody waits any more");
        }
    }

    fn best(tasks: &[Arc<CpuMask>], idle: &CpuMask) -> u64 {
        let Some((first, rest)) = tasks.split_first() else { return 0 };
        let with = idle.iter().filter(|&cpu| first.contains(cpu)).map(|cpu| {
            let mut left = idle.clone();
            left.clear(cpu);
            1 + best(rest, &left)
        });
        with.max().unwrap_or(0).max(best(rest, idle))
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
