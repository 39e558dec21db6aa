//! From a machine to the domain tree of every CPU: the order of the steps.
//!
//! For each partition: make a domain for every CPU and level until one spans the whole partition; divide each into
//! groups; compute capacities; remove the levels that add nothing; attach what is left. Example: eight CPUs, four
//! cores of two threads, one cache. CPU 0 gets SMT `0-1`, CLS `0-1` and MC `0-7`, which is everything, so no
//! further level is made; CLS equals SMT and is removed; SMT (level 0) and MC (level 2) are left.
//!
//! In the kernel: `build_sched_domains`, `sd_init`. Left out: topology levels registered by drivers, and the perf
//! domains of energy-aware placement.
use super::asym::{self, CapacityClasses};
use super::domain::{Domain, Group, GroupCapacity, LlcShared, SdFlags};
use super::levels::Levels;
use super::machine::Machine;
use super::rules::{LlcSharing, TopologyRules};
use super::spans::{SpanId, Spans};
use super::{TopologyError, partition::Partition};
use crate::ids::{CapacityId, CpuId, DomainId, GroupId, SharedId};
use crate::kernel::Kernel;
use crate::mask::CpuMask;
use crate::time::{Jiffies, Ns};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// What a build looks at beside its partition.
pub(super) struct Host<'a> {
    pub(super) machine: &'a Machine,
    pub(super) kernel: &'a Kernel,
    pub(super) levels: &'a Levels,
    pub(super) classes: &'a CapacityClasses,
    /// Capacities by CPU as this kernel sees them.
    pub(super) capacities: &'a [u32],
    /// Priorities by CPU for asym packing.
    pub(super) priorities: &'a [i32],
    pub(super) nr_online: u32,
    pub(super) jiffies: Jiffies,
    pub(super) now_ns: Ns,
}

/// The objects of one partition under construction, with the levels that will be removed (spec 1 §6).
pub(super) struct Draft<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) machine: &'a Machine,
    pub(super) cpu_map: &'a CpuMask,
    pub(super) spans: &'a mut Spans,
    pub(super) domains: Vec<Domain>,
    pub(super) groups: Vec<Group>,
    pub(super) capacities: Vec<GroupCapacity>,
    pub(super) shared: Vec<LlcShared>,
    /// The lowest domain by CPU.
    pub(super) base: Vec<Option<DomainId>>,
    /// `balance_masks` by level and span: every CPU of a node asks for the same ones.
    pub(super) balance_masks: BTreeMap<(usize, SpanId), Arc<CpuMask>>,
    /// What each CPU can do now, of which the capacities of overlapping groups are sums.
    pub(super) cpu_capacity: &'a mut [u64],
    pub(super) asym_seen: bool,
    span_ids: Vec<SpanId>,
    domain_at: Vec<Option<DomainId>>,
    group_at: Vec<Option<GroupId>>,
    capacity_at: Vec<Option<CapacityId>>,
    shared_at: Vec<Option<SharedId>>,
    cores: BTreeMap<SpanId, u32>,
    pub(super) clipped: BTreeMap<SpanId, SpanId>,
    pub(super) asym: BTreeMap<SpanId, SdFlags>,
    pub(super) relax: Option<u32>,
}

impl<'a> Draft<'a> {
    /// Builds the trees of one partition, up to and without the removal of levels (spec 1 §6 steps 1-7).
    pub(super) fn build(
        host: &'a Host<'a>,
        partition: &'a Partition,
        spans: &'a mut Spans,
        cpu_capacity: &'a mut [u64],
    ) -> Result<Self, TopologyError> {
        let places = host.levels.table.len() * host.machine.nr_cpus();
        let mut draft = Self {
            host,
            machine: host.machine,
            cpu_map: &partition.cpus,
            spans,
            domains: Vec::new(),
            groups: Vec::new(),
            capacities: Vec::new(),
            shared: Vec::new(),
            base: vec![None; host.machine.nr_cpus()],
            balance_masks: BTreeMap::new(),
            cpu_capacity,
            asym_seen: false,
            span_ids: Vec::new(),
            domain_at: vec![None; places],
            group_at: vec![None; places],
            capacity_at: vec![None; places],
            shared_at: vec![None; places],
            cores: BTreeMap::new(),
            clipped: BTreeMap::new(),
            asym: BTreeMap::new(),
            relax: partition.relax_domain_level,
        };
        draft.check_masks()?;
        draft.build_domains();
        draft.check_spans()?;
        draft.build_groups();
        draft.set_imb_numa_nr();
        if draft.rules().llc_shared == LlcSharing::TopmostAndAsym {
            draft.claim_shared();
        }
        draft.init_capacities();
        Ok(draft)
    }

    pub(super) fn rules(&self) -> &'a TopologyRules {
        &self.host.kernel.topology
    }

    pub(super) fn span_id(&self, domain: DomainId) -> SpanId {
        self.span_ids[domain.index()]
    }

    /// The place of a domain's level in the table, which is also its number: every CPU starts at the bottom.
    pub(super) fn level_of(&self, domain: DomainId) -> usize {
        self.domains[domain.index()].level as usize
    }

    fn place(&self, level: usize, cpu: CpuId) -> usize {
        level * self.machine.nr_cpus() + cpu.index()
    }

    /// The domain of `cpu` at a level, if its chain reaches that high.
    pub(super) fn domain_at(&self, level: usize, cpu: CpuId) -> Option<DomainId> {
        self.domain_at[self.place(level, cpu)]
    }

    /// The shared normal group of a level in the name of `key`, if it was made already.
    pub(super) fn group_at(&mut self, level: usize, key: CpuId) -> &mut Option<GroupId> {
        let place = self.place(level, key);
        &mut self.group_at[place]
    }

    /// The object for state shared by CPUs, of a level in the name of `key`.
    pub(super) fn shared_at(&mut self, level: usize, key: CpuId) -> SharedId {
        let place = self.place(level, key);
        *self.shared_at[place].get_or_insert_with(|| {
            self.shared.push(LlcShared {
                nr_busy_cpus: 0,
                has_idle_cores: false,
                nr_idle_scan: 0,
                util_avg: 0,
                capacity: 0,
            });
            SharedId::from_index(self.shared.len() - 1)
        })
    }

    /// The group capacity of a level in the name of `owner`; the first user decides its balance mask.
    pub(super) fn capacity_at(
        &mut self,
        level: usize,
        owner: CpuId,
        span: SpanId,
        balance_mask: &Arc<CpuMask>,
    ) -> CapacityId {
        let place = self.place(level, owner);
        let weight = self.spans.weight(span);
        *self.capacity_at[place].get_or_insert_with(|| {
            self.capacities.push(GroupCapacity {
                id: owner,
                balance_mask: Arc::clone(balance_mask),
                capacity: 1024 * u64::from(weight),
                min_capacity: 1024,
                max_capacity: 1024,
                next_update: 0,
                imbalance: false,
            });
            CapacityId::from_index(self.capacities.len() - 1)
        })
    }

    /// A group that is its own successor.
    pub(super) fn new_group(&mut self, span: SpanId, flags: SdFlags, sgc: CapacityId) -> GroupId {
        let id = GroupId::from_index(self.groups.len());
        let flags = match self.rules().group_flags {
            super::rules::GroupFlags::Absent => SdFlags::empty(),
            _ => flags,
        };
        let cores = self.cores(span);
        self.groups.push(Group {
            next: id,
            span: Arc::clone(self.spans.mask(span)),
            group_weight: self.spans.weight(span),
            cores,
            flags,
            asym_prefer_cpu: CpuId(0),
            sgc,
        });
        id
    }

    pub(super) fn link(&mut self, group: GroupId, next: GroupId) {
        self.groups[group.index()].next = next;
    }

    /// Cores in a span: a core with some of its threads outside counts, but once (spec 1 §1.2).
    fn cores(&mut self, span: SpanId) -> u32 {
        if !self.rules().group_cores {
            return 0;
        }
        if let Some(&cores) = self.cores.get(&span) {
            return cores;
        }
        let mut seen: Vec<u32> =
            self.spans.mask(span).iter().map(|cpu| self.machine.cpus[cpu.index()].core).collect();
        seen.sort_unstable();
        seen.dedup();
        let cores = seen.len() as u32;
        self.cores.insert(span, cores);
        cores
    }

    /// The part of a mask that lies in the partition.
    fn clip(&mut self, mask: SpanId) -> SpanId {
        if let Some(&span) = self.clipped.get(&mask) {
            return span;
        }
        let span = self.spans.mask(mask).and(self.cpu_map);
        let span = self.spans.intern(span);
        self.clipped.insert(mask, span);
        span
    }

    /// Levels below NUMA must divide the CPUs: two masks are equal or have nothing in common (spec 1 §2).
    fn check_masks(&self) -> Result<(), TopologyError> {
        for level in self.host.levels.table.iter().filter(|level| level.distance.is_none()) {
            self.check_partition(level.name, |cpu| level.masks[cpu.index()])?;
        }
        Ok(())
    }

    /// The same of the spans, which differ from the masks where a level was narrower than the one below.
    fn check_spans(&self) -> Result<(), TopologyError> {
        for (l, level) in
            self.host.levels.table.iter().enumerate().filter(|(_, level)| level.distance.is_none())
        {
            let span = |cpu| self.domain_at(l, cpu).map_or(SpanId::EMPTY, |domain| self.span_id(domain));
            self.check_partition(level.name, span)?;
        }
        Ok(())
    }

    fn check_partition(
        &self,
        level: &'static str,
        set_of: impl Fn(CpuId) -> SpanId,
    ) -> Result<(), TopologyError> {
        let mut covered = CpuMask::new(self.machine.nr_cpus());
        let mut seen = vec![false; self.spans.len()];
        for cpu in self.cpu_map {
            let set = set_of(cpu);
            if core::mem::replace(&mut seen[set.index()], true) {
                continue;
            }
            let mask = self.spans.mask(set);
            if let Some(b) = mask.first_and(&covered) {
                return Err(TopologyError::OverlappingLevel { level, a: cpu, b });
            }
            covered.or_assign(mask);
        }
        Ok(())
    }

    fn build_domains(&mut self) {
        let cpu_map = self.cpu_map;
        let whole = self.spans.intern(cpu_map.clone());
        for cpu in cpu_map {
            let mut child = None;
            for level in 0..self.host.levels.table.len() {
                let domain = self.new_domain(level, cpu, child);
                if child.is_none() {
                    self.base[cpu.index()] = Some(domain);
                }
                child = Some(domain);
                if self.span_id(domain) == whole {
                    break;
                }
            }
        }
    }

    /// Makes the domain of a CPU at a level and puts it on top of the chain (spec 1 §6 step 2).
    fn new_domain(&mut self, level: usize, cpu: CpuId, child: Option<DomainId>) -> DomainId {
        let mut span = self.clip(self.host.levels.table[level].masks[cpu.index()]);
        let id = DomainId::from_index(self.domains.len());
        let flags = self.sd_init_flags(level, span);
        if let Some(child) = child {
            let below = &mut self.domains[child.index()];
            below.parent = Some(id);
            if flags.contains(SdFlags::ASYM_CPUCAPACITY) {
                below.flags.remove(SdFlags::PREFER_SIBLING);
            }
            if !below.span.is_subset(self.spans.mask(span)) {
                let mut wider = CpuMask::clone(&below.span);
                wider.or_assign(self.spans.mask(span));
                span = self.spans.intern(wider);
            }
        }
        let domain = self.sd_init(level, cpu, child, flags, span);
        self.domains.push(domain);
        self.span_ids.push(span);
        let place = self.place(level, cpu);
        self.domain_at[place] = Some(id);
        if flags.contains(SdFlags::SHARE_LLC) && self.rules().llc_shared == LlcSharing::EveryCacheLevel {
            let shared = self.shared_at(level, self.spans.mask(span).first().unwrap_or(cpu));
            self.shared[shared.index()].nr_busy_cpus = self.domains[id.index()].min_interval as i32;
            self.domains[id.index()].shared = Some(shared);
        }
        id
    }

    fn build_groups(&mut self) {
        for id in (0..self.domains.len()).map(DomainId::from_index) {
            let overlaps = self.host.levels.table[self.level_of(id)].distance.is_some();
            if overlaps {
                self.build_overlap_groups(id);
            } else {
                self.build_normal_groups(id);
            }
        }
    }

    /// Tasks that NUMA levels let be unbalanced (spec 1 §9): with few caches per node one task each, otherwise an
    /// eighth of the node; farther levels in proportion to their size.
    fn set_imb_numa_nr(&mut self) {
        if !self.rules().imb_numa_nr {
            return;
        }
        for cpu in self.cpu_map {
            let (mut imb, mut imb_span) = (0, 1);
            let mut next = self.base[cpu.index()];
            while let Some(id) = next {
                let domain = &self.domains[id.index()];
                let (weight, parent) = (domain.span_weight, domain.parent);
                let cache_below = domain
                    .child
                    .map(|child| &self.domains[child.index()])
                    .filter(|child| child.flags.contains(SdFlags::SHARE_LLC));
                self.domains[id.index()].imb_numa_nr = match cache_below {
                    Some(cache) if !domain.flags.contains(SdFlags::SHARE_LLC) => {
                        let caches = weight / cache.span_weight;
                        imb = (if caches == 1 { weight >> 3 } else { caches }).max(1);
                        imb_span = self.lowest_numa_weight(id).unwrap_or(weight);
                        imb
                    }
                    _ => imb * (weight / imb_span).max(1),
                };
                next = parent;
            }
        }
    }

    /// The size of the lowest NUMA level above `id`.
    fn lowest_numa_weight(&self, id: DomainId) -> Option<u32> {
        let parent = |id: &DomainId| self.domains[id.index()].parent;
        core::iter::successors(parent(&id), parent)
            .map(|id| &self.domains[id.index()])
            .find(|domain| domain.flags.contains(SdFlags::NUMA))
            .map(|domain| domain.span_weight)
    }
}

/// The parts of a build that do not depend on the partition.
pub(super) struct Surroundings {
    pub(super) levels: Levels,
    pub(super) classes: CapacityClasses,
    pub(super) capacities: Vec<u32>,
    pub(super) priorities: Vec<i32>,
}

impl Surroundings {
    pub(super) fn new(
        machine: &Machine,
        kernel: &Kernel,
        visible: &CpuMask,
        isolated: &CpuMask,
        spans: &mut Spans,
    ) -> Self {
        let capacities = asym::cpu_capacities(machine, kernel);
        Self {
            levels: Levels::new(machine, &kernel.topology, visible, &machine.online(), spans),
            classes: CapacityClasses::new(machine, &kernel.topology, &capacities, isolated),
            priorities: asym::cpu_priorities(machine, kernel),
            capacities,
        }
    }
}
