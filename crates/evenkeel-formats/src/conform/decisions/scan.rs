//! The second half of a decision: the queue, the tasks that were looked at, active balance, and what followed.
use super::state::{Found, State};
use super::{Check, Checked, Inferred};
use crate::recording::decisions::{Attempt, LbRecord, Scanned, parse_mask};
use evenkeel::balance::env::{IdleType, LbFlags, MigrationType};
use evenkeel::balance::migrate::size_test;
use evenkeel::balance::source::SrcRq;
use evenkeel::balance::view::CpuRow;
use evenkeel::ids::CpuId;
use evenkeel::kernel::{Features, Kernel};
use evenkeel::topology::{Domains, SdFlags};

/// The replay of one scan.
pub(super) struct Scan<'a> {
    kernel: &'a Kernel,
    record: &'a LbRecord,
    attempt: &'a Attempt,
    found: Found,
    /// What is left to move.
    imbalance: i64,
    flags: LbFlags,
    /// Tasks looked at since the scan (re)started.
    loop_: u32,
    loop_max: u32,
    /// Tasks on the source: all, and fair ones.
    nr_running: u32,
    fair: u32,
    /// The source's load when the hierarchical load was computed, and now.
    h_load: u64,
    load: u64,
    moved: u32,
    /// Tasks refused although neither pinned nor, on this level, ever hot.
    must_run: u32,
}

impl<'a> Scan<'a> {
    pub(super) fn new(kernel: &'a Kernel, record: &'a LbRecord, attempt: &'a Attempt, found: Found) -> Self {
        Self {
            kernel,
            record,
            attempt,
            found,
            imbalance: found.imbalance,
            flags: flags_of(&attempt.flags) | LbFlags::ALL_PINNED,
            loop_: 0,
            loop_max: 0,
            nr_running: 0,
            fair: 0,
            h_load: 0,
            load: 0,
            moved: 0,
            must_run: 0,
        }
    }

    pub(super) fn compare(
        mut self,
        check: &mut Check<'_>,
        state: &mut State<'_>,
        topo: &mut Domains,
        next: Option<&Attempt>,
    ) {
        let recorded = self.attempt.scan.first().map(|task| CpuId(task.src));
        let mut src = self.find_src_rq(state, topo);
        if !self.fits(state, src)
            && let Some(other) = self.infer_queue(state, topo, src)
        {
            check.inferred(Inferred::QueueChanged);
            src = other;
        }
        let Some(src) = src else {
            check.same(Checked::Queue, "source queue", recorded, None);
            check.same(Checked::Active, "need_active", self.attempt.need_active, None);
            check.same(Checked::Redo, "another search", next.is_some(), false);
            return;
        };
        let row = &state.rows[src.index()];
        (self.nr_running, self.fair) = (row.nr_running, row.h_nr_queued);
        (self.h_load, self.load) = (row.load, row.load);
        let waits = self.nr_running > 1;
        check.same(Checked::Queue, "source queue", recorded, waits.then_some(src));
        if waits && recorded == Some(src) {
            self.loop_max = self.kernel.tunables.nr_migrate.min(self.nr_running);
            self.replay(check, state, topo);
        }
        let redo = waits && self.flags.contains(LbFlags::ALL_PINNED);
        self.compare_active(check, state, topo, src, redo);
        compare_redo(check, state, topo, src, redo, next);
    }

    fn find_src_rq(&self, state: &State<'_>, topo: &Domains) -> Option<CpuId> {
        let choice = SrcRq::new(self.found.imbalance, self.found.migration_type, self.found.fbq_type);
        self.found.group.and_then(|group| state.search(topo).find_src_rq(group, choice))
    }

    /// Whether what was recorded after the choice of queue can follow from this one.
    fn fits(&self, state: &State<'_>, src: Option<CpuId>) -> bool {
        let nr_running = src.map_or(0, |src| state.rows[src.index()].nr_running);
        match self.attempt.scan.first() {
            Some(task) => {
                let loop_max = self.kernel.tunables.nr_migrate.min(nr_running);
                src == Some(CpuId(task.src)) && nr_running > 1 && loop_max == task.loop_max
            }
            None => src.is_some() == self.attempt.need_active.is_some() && nr_running <= 1,
        }
    }

    /// Looks for a task more, or a task less, on one CPU of the source group, before or after the queue was chosen, that
    /// explains what was recorded; the source then.
    fn infer_queue(
        &self,
        state: &mut State<'_>,
        topo: &Domains,
        src: Option<CpuId>,
    ) -> Option<Option<CpuId>> {
        let span = &topo.groups[self.found.group?.index()].span;
        for cpu in span.iter().filter(|&cpu| state.cpus.contains(cpu)).collect::<Vec<_>>() {
            let before = state.rows[cpu.index()];
            // One more woke up, or one was taken away; from the source itself also all but one, then nothing was scanned.
            let emptied = (self.attempt.scan.is_empty() && src == Some(cpu)).then_some(1);
            let others = [Some(before.nr_running + 1), before.nr_running.checked_sub(1), emptied];
            let others = others.into_iter().flatten();
            for nr_running in others {
                let not_fair = before.nr_running.saturating_sub(before.h_nr_queued);
                let h_nr_queued = nr_running.saturating_sub(not_fair);
                state.rows[cpu.index()] = CpuRow { nr_running, h_nr_queued, ..before };
                let chosen = [self.find_src_rq(state, topo), src];
                if let Some(source) = chosen.into_iter().find(|&source| self.fits(state, source)) {
                    return Some(source);
                }
            }
            state.rows[cpu.index()] = before;
        }
        None
    }

    /// Replays the tasks one by one: the scan must end where the record ends, not before and not after.
    fn replay(&mut self, check: &mut Check<'_>, state: &mut State<'_>, topo: &Domains) {
        let tasks = &self.attempt.scan;
        for (number, task) in tasks.iter().enumerate() {
            if let Some(reason) = self.ends(state.idle) {
                let restarted = self.flags.contains(LbFlags::DST_PINNED) && self.imbalance > 0;
                if !restarted {
                    check.same(Checked::Scan, "tasks looked at", tasks.len(), number);
                    check.same(Checked::Scan, "end of the scan", "later", reason);
                    return;
                }
                // A pinned task has named another destination: from the start with that.
                self.flags.remove(LbFlags::DST_PINNED);
                self.loop_ = 0;
                state.redirect(check, topo);
            }
            self.loop_ += 1;
            check.report.tasks += 1;
            if !self.replay_task(check, state, topo, number, task) {
                return;
            }
        }
        if self.ends(state.idle).is_none() {
            check.same(Checked::Scan, "tasks looked at", tasks.len(), tasks.len() + 1);
        }
        // One task runs; others may be ahead of those of their queue, which keeps them until a failure.
        let tasks = self.kernel.balance.tasks;
        let may_be_ahead = tasks.filters_ineligible
            && (self.record.nr_balance_failed == 0 || self.found.migration_type != MigrationType::Load);
        if may_be_ahead && self.must_run > 1 {
            check.inferred(Inferred::Ineligible);
            return;
        }
        check.same(
            Checked::Scan,
            "refused with nothing but running to explain it",
            self.must_run.min(1),
            self.must_run,
        );
    }

    /// Why the scan ends here, if it does.
    fn ends(&self, idle: IdleType) -> Option<&'static str> {
        let one_is_enough = self.kernel.balance.preemption && idle == IdleType::NewlyIdle && self.moved > 0;
        if one_is_enough {
            Some("new-idle moves one task")
        } else if self.imbalance <= 0 {
            Some("nothing left to move")
        } else if self.fair == 0 {
            Some("no task left")
        } else if idle.is_idle() && self.nr_running <= 1 {
            Some("one task left")
        } else if self.loop_ >= self.loop_max {
            Some("loop_max")
        } else {
            None
        }
    }

    fn replay_task(
        &mut self,
        check: &mut Check<'_>,
        state: &State<'_>,
        topo: &Domains,
        number: usize,
        task: &Scanned,
    ) -> bool {
        let field = |what: &str| format!("task {} {what}", number + 1);
        let mut same = check.same(Checked::Scan, &field("loop"), task.loop_, self.loop_);
        same &= check.same(Checked::Scan, &field("loop_max"), task.loop_max, self.loop_max);
        same &= check.same(Checked::Scan, &field("imbalance"), task.imbalance, self.imbalance);
        same &= self.replay_flags(check, state, topo, &field("flags"), task);
        if task.can == 0 {
            return same & check.same(Checked::Scan, &field("detached"), task.detached, 0);
        }
        let failed = self.record.nr_balance_failed;
        let lb_min = self.kernel.features.contains(Features::LB_MIN);
        let amount = self.amount(check, task);
        let fits_source = task.detached == 0;
        let rest = {
            let size = self.kernel.balance.tasks.size;
            size_test(size, self.found.migration_type, amount, fits_source, lb_min, failed, self.imbalance)
        };
        let recorded = (task.detached != 0).then_some(task.imbalance_after);
        let computed = rest.ok().map(Some);
        same &= check.same(Checked::Scan, &field("imbalance after"), recorded, computed);
        if let Ok(rest) = rest {
            self.imbalance = rest;
            self.moved += 1;
            self.nr_running = self.nr_running.saturating_sub(1);
            self.fair = self.fair.saturating_sub(1);
            self.load = self.load.saturating_sub(task.load);
        }
        same
    }

    /// What the task counts; where the load was computed at another moment, what the record shows it to be.
    fn amount(&mut self, check: &mut Check<'_>, task: &Scanned) -> u64 {
        match self.found.migration_type {
            MigrationType::Task | MigrationType::Misfit | MigrationType::LlcTask => 1,
            MigrationType::Util => self.estimate(check, task),
            MigrationType::Load => {
                let amount = (task.load.saturating_mul(self.h_load) / (self.load + 1)).max(1);
                let shown = task.imbalance_after.map(|after| task.imbalance.wrapping_sub(after) as u64);
                match shown {
                    Some(shown)
                        if self.moved > 0 && shown != amount && shown.abs_diff(amount) * 16 < amount =>
                    {
                        check.inferred(Inferred::StaleLoad);
                        shown
                    }
                    _ => amount,
                }
            }
        }
    }

    /// A task's utilisation; where its estimate was higher and decided, what the record or the queue shows that to be.
    fn estimate(&self, check: &mut Check<'_>, task: &Scanned) -> u64 {
        let queue = self.attempt.rq.get(task.src as usize).map_or(0, |row| row.5);
        let shown = match task.imbalance_after {
            Some(after) => task.imbalance.wrapping_sub(after) as u64,
            None if task.util >> self.record.nr_balance_failed.min(63) <= self.imbalance as u64 => queue,
            None => task.util,
        };
        if shown != task.util && (task.util..=queue).contains(&shown) {
            check.inferred(Inferred::TaskEstimate);
            return shown;
        }
        task.util
    }

    /// Whether the flags are what one of the verdicts on this task leaves.
    fn replay_flags(
        &mut self,
        check: &mut Check<'_>,
        state: &State<'_>,
        topo: &Domains,
        field: &str,
        task: &Scanned,
    ) -> bool {
        let recorded = flags_of(&task.flags);
        let looked_at = self.flags - LbFlags::ALL_PINNED;
        let pinned = self.flags | LbFlags::SOME_PINNED;
        let may_redirect = state.idle != IdleType::NewlyIdle && !self.flags.contains(LbFlags::DST_PINNED);
        let refused = [self.flags, pinned, pinned | LbFlags::DST_PINNED];
        let refused = &refused[..if may_redirect { 3 } else { 2 }];
        let possible = recorded == looked_at || task.can == 0 && refused.contains(&recorded);
        if is_per_cpu_kthread(task) {
            let unchanged = self.flags;
            return check.same(Checked::Scan, field, recorded, unchanged)
                & check.same(Checked::Scan, "verdict on a kernel thread of its CPU", task.can, 0);
        }
        let domain = &topo.domains[state.sd.index()];
        let never_hot = domain.flags.contains(SdFlags::SHARE_CPUCAPACITY)
            || self.record.nr_balance_failed > domain.cache_nice_tries;
        let not_pinned = !recorded.intersects(LbFlags::ALL_PINNED | LbFlags::SOME_PINNED);
        self.must_run += u32::from(task.can == 0 && not_pinned && never_hot);
        self.flags = recorded;
        possible || check.same(Checked::Scan, field, recorded, looked_at)
    }

    fn compare_active(
        &self,
        check: &mut Check<'_>,
        state: &State<'_>,
        topo: &mut Domains,
        src: CpuId,
        redo: bool,
    ) {
        if redo || self.moved > 0 {
            check.same(Checked::Active, "need_active", self.attempt.need_active, None);
            return;
        }
        let counts = state.idle != IdleType::NewlyIdle && self.found.migration_type != MigrationType::Misfit;
        let failed = &mut topo.domains[state.sd.index()].nr_balance_failed;
        *failed = failed.wrapping_add(u32::from(counts));
        let needed = state.search(topo).need_active_balance(src, self.found.migration_type);
        let computed = Some(u32::from(needed.is_some()));
        check.same(Checked::Active, "need_active", self.attempt.need_active, computed);
    }
}

/// Whether the task is a kernel thread that belongs to the CPU it is on: `kworker/3:1`, `ksoftirqd/3`.
fn is_per_cpu_kthread(task: &Scanned) -> bool {
    let Some((kind, cpu)) = task.comm.split_once('/') else { return false };
    // The number of an interrupt's thread is that of the interrupt.
    if kind == "irq" {
        return false;
    }
    let digits = cpu.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse() == Ok(task.src)
}

/// Whether another search follows, without the source.
fn compare_redo(
    check: &mut Check<'_>,
    state: &State<'_>,
    topo: &Domains,
    src: CpuId,
    redo: bool,
    next: Option<&Attempt>,
) {
    let mut cpus = state.cpus.clone();
    cpus.clear(src);
    let dst_grpmask = state.dst_grpmask(topo);
    let follows = redo && !cpus.is_subset(dst_grpmask);
    if follows && next.is_none() && !state.idle_is_known {
        // A CPU of the local group has finished switching to idle, and it is its turn now.
        return;
    }
    if check.same(Checked::Redo, "another search", next.is_some(), follows)
        && let Some(next) = next
    {
        let recorded = parse_mask(&next.cpus, topo.cpus.len());
        check.same(Checked::Redo, "candidates", recorded, Some(cpus));
    }
}

fn flags_of(text: &str) -> LbFlags {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    LbFlags::from_bits_retain(u32::from_str_radix(digits, 16).unwrap_or(u32::MAX))
}
