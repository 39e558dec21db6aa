//! When running time is accounted, and when a tick has caches compared.
//!
//! Comparing is work that a task does on its way back to user space: after the softirq of its tick, or, if it is preempted
//! there, when it runs again. Example: a tick at 8 ms begins an epoch, and its softirq balances with the preferences that were
//! there; the thread compares after that, and takes the result over when it is accounted next, at 12 ms.
//!
//! In the kernel: part of `update_curr()` and of the fair tick, and a task work (spec 3 §13.3).
use super::process::{Comparison, Process, epoch_of, share};
use super::rules::{Gathering, Invalid, Preference, ProcessSize};
use crate::ids::{CpuId, ProcessId, TaskId};
use crate::io::Action;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::task::TaskParams;
use crate::time::Ns;

impl<O: Observer> Sched<O> {
    /// Prepares a process: threads that share their memory. It begins with its first thread.
    pub fn new_process(&mut self) -> ProcessId {
        let id = ProcessId::from_index(self.processes.len());
        let cpus = if self.kernel.balance.cache_aware.gathers() { self.rqs.len() } else { 0 };
        self.processes.push(Process::new(cpus, self.epoch()));
        id
    }

    /// Prepares a task of a process; like [`Sched::new_task`], whose tasks are of none, as threads of the kernel.
    pub fn new_thread(&mut self, params: &TaskParams, process: ProcessId) -> TaskId {
        let task = self.new_task(params);
        self.tasks[task].llc.process = Some(process);
        task
    }

    /// The processes, by number.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    fn epoch(&self) -> u64 {
        let period = self.kernel.tunables.llc_balancing.map_or(1, |tunables| tunables.epoch_period);
        epoch_of(self.jiffies(), period)
    }

    /// Something happens to the process of a task, if it has one.
    pub(crate) fn with_process(&mut self, task: TaskId, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.tasks[task].llc.process {
            change(&mut self.processes[process.index()]);
        }
    }

    /// A task's only thread begins with new memory: what was known of the old one is void.
    pub(crate) fn renew_process(&mut self, task: TaskId) {
        let epoch = self.epoch();
        let alone = |process: &Process| process.threads <= 1;
        self.with_process(task, |process| {
            if alone(process) {
                *process =
                    Process { threads: process.threads, ..Process::new(process.occupancy.len(), epoch) };
            }
        });
    }

    /// Running time of `task` on its CPU was accounted: its process's preference may have become void, and the task takes
    /// it over.
    pub(crate) fn account_llc(&mut self, cpu: CpuId, task: TaskId, runtime: Ns) {
        let Some(gathering) = self.gathering else { return };
        let Some(process) = self.tasks[task].llc.process else { return };
        let epoch = self.epoch();
        let ran = &mut self.rqs[cpu.index()].llc.ran;
        ran.age(epoch);
        ran.runtime += runtime;
        let own = &mut self.processes[process.index()].occupancy[cpu.index()];
        own.age(epoch);
        own.runtime += runtime;
        let invalid = self.invalid(&gathering, process, cpu, Some(epoch));
        let record = &mut self.processes[process.index()];
        if invalid.is_some() {
            record.cpu = None;
        }
        let preferred = record.cpu;
        // Memory comes first.
        let elsewhere =
            |cpu: CpuId| self.preferred_node(task).is_some_and(|node| node != self.node_of[cpu.index()]);
        let (preferred, why) = match preferred {
            Some(cpu) if elsewhere(cpu) => (None, Preference::OtherNode),
            _ => (preferred, invalid.map_or(Preference::Share, Preference::Invalid)),
        };
        let llc = preferred.and_then(|cpu| self.llc_of(cpu));
        if llc != self.tasks[task].llc.preferred {
            self.uncount_llc(task);
            self.tasks[task].llc.preferred = llc;
            if self.entity(task).on_rq {
                self.count_llc(task);
            }
            self.emit(|_| Event::LlcPreference { task, cpu: preferred, why });
        }
    }

    /// Why a process may not prefer a cache, seen from `cpu`; whether it compared in time counts only if `epoch` is given.
    pub(super) fn invalid(
        &self,
        gathering: &Gathering,
        process: ProcessId,
        cpu: CpuId,
        epoch: Option<u64>,
    ) -> Option<Invalid> {
        let process = &self.processes[process.index()];
        let timeout = u64::from(gathering.tunables.epoch_affinity_timeout);
        if epoch.is_some_and(|epoch| epoch > process.epoch + timeout) {
            return Some(Invalid::Stale);
        }
        gathering.invalid(&ProcessSize {
            threads: process.threads,
            nr_running_avg: process.nr_running_avg,
            smt_threads: self.topo.smt[cpu.index()].weight(),
            llc_size: self.topo.cpus[cpu.index()].sd_llc_size,
            // Without NUMA balancing nothing is known of it, and the rule does not count.
            memory: None,
        })
    }

    /// The tick of a task: once in an epoch one thread of a process is to compare caches.
    pub(crate) fn task_tick_cache(&mut self, cpu: CpuId, task: TaskId) {
        if self.gathering.is_none() {
            return;
        }
        let Some(process) = self.tasks[task].llc.process else { return };
        let epoch = self.rqs[cpu.index()].llc.ran.epoch;
        let process = &mut self.processes[process.index()];
        if process.epoch < epoch {
            process.epoch = epoch;
            self.tasks[task].llc.compares = true;
        }
    }

    /// What runs on `cpu` goes on in user space, unless it is to be preempted or a softirq comes first.
    #[inline]
    pub(crate) fn return_to_user(&mut self, cpu: CpuId) {
        if self.gathering.is_none() || self.rqs[cpu.index()].need_resched {
            return;
        }
        let Some(task) = self.rqs[cpu.index()].curr.filter(|&curr| self.tasks[curr].llc.compares) else {
            return;
        };
        if !self.actions.contains(&Action::RaiseSoftirq { cpu }) {
            self.tasks[task].llc.compares = false;
            self.compare_caches(cpu, task);
        }
    }

    /// A thread on `cpu` compares the shares its process has of the machine's caches.
    fn compare_caches(&mut self, cpu: CpuId, task: TaskId) {
        let Some(process) = self.tasks[task].llc.process else { return };
        let epoch = self.epoch();
        let present = self.processes[process.index()].cpu.and_then(|cpu| self.llc_of(cpu));
        let mut comparison = Comparison::default();
        let mut running = 0;
        for first in 0..self.rqs.len() {
            let first = CpuId::from_index(first);
            let Some(llc) = self.topo.cpus[first.index()].sd_llc else { continue };
            let span = alloc::sync::Arc::clone(&self.topo.domains[llc.index()].span);
            if span.first() != Some(first) {
                continue;
            }
            let record = &mut self.processes[process.index()];
            for cpu in span.iter() {
                record.occupancy[cpu.index()].age(epoch);
                self.rqs[cpu.index()].llc.ran.age(epoch);
                let curr = self.rqs[cpu.index()].curr;
                running += u32::from(curr.is_some_and(|curr| self.tasks[curr].llc.process == Some(process)));
            }
            let shares = span.iter().map(|cpu| {
                let ran = self.rqs[cpu.index()].llc.ran.runtime;
                (cpu, share(record.occupancy[cpu.index()].runtime, ran))
            });
            comparison.cache(shares, present == Some(self.topo.cpus[first.index()].sd_llc_id));
        }
        let llc_size = self.topo.cpus[cpu.index()].sd_llc_size;
        let record = &mut self.processes[process.index()];
        if let Some(cpu) = comparison.change() {
            record.cpu = Some(cpu);
        }
        record.note_running(running, llc_size);
    }
}
