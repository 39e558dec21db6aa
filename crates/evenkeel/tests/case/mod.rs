//! A level of a machine with a table of CPUs, to decide over.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]
use evenkeel::balance::choose::{GroupRule, SrcGroup};
use evenkeel::balance::classify::GroupType;
use evenkeel::balance::env::{IdleType, MigrationType};
use evenkeel::balance::migrate::{Candidate, Locality};
use evenkeel::balance::rules::EnergyAware;
use evenkeel::balance::source::SrcRq;
use evenkeel::balance::stats::{SdStats, Search};
use evenkeel::balance::view::CpuRow;
use evenkeel::cache_aware::sched_cache_enabled;
use evenkeel::ids::{CpuId, DomainId, GroupId};
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Domains, Machine, SdFlags};

/// An idle CPU.
pub const IDLE: (u32, u64, u64, u64) = (0, 0, 0, 0);

/// A task that nothing keeps where it is.
pub const MOVABLE: Candidate = Candidate {
    delayed: false,
    src_throttled: false,
    dst_throttled: false,
    ineligible: false,
    percpu_kthread: false,
    allowed: true,
    on_cpu: false,
    locality: Locality::Unaffected,
    prefers_dst_llc: false,
    degrades_llc: None,
    hot: false,
};

/// A level of a machine with a table of CPUs: what a decision needs.
pub struct Case {
    pub kernel: &'static Kernel,
    pub topo: Domains,
    pub rows: Vec<CpuRow>,
    pub level: &'static str,
    pub dst: u32,
    pub idle: IdleType,
}

impl Case {
    /// `(nr, load, util, runnable)` per CPU; nr 0 is an idle CPU.
    pub fn new(machine: &Machine, level: &'static str, cpus: &[(u32, u64, u64, u64)]) -> Self {
        Self::of(kernels::DEFAULT, machine, level, cpus)
    }

    pub fn of(
        kernel: &'static Kernel,
        machine: &Machine,
        level: &'static str,
        cpus: &[(u32, u64, u64, u64)],
    ) -> Self {
        let row = |(i, &(nr, load, util, runnable))| CpuRow::busy(i as u32, nr, load, util, runnable);
        Self {
            kernel,
            topo: Domains::build(machine, kernel, 0).unwrap(),
            rows: cpus.iter().enumerate().map(row).collect(),
            level: if level == "PKG" { kernel.topology.package_name } else { level },
            dst: 0,
            idle: IdleType::Idle,
        }
        .with_capacities()
    }

    pub fn dst(mut self, dst: u32, idle: IdleType) -> Self {
        (self.dst, self.idle) = (dst, idle);
        self
    }

    pub fn sd(&self) -> DomainId {
        let mut chain = self.topo.chain(CpuId(self.dst));
        chain.find(|sd| self.topo.domains[sd.index()].name == self.level).expect("the level exists")
    }

    pub fn domain(&mut self) -> &mut evenkeel::topology::Domain {
        let sd = self.sd();
        &mut self.topo.domains[sd.index()]
    }

    /// The flags of all groups of the level.
    pub fn group_flags(mut self, flags: SdFlags) -> Self {
        let groups: Vec<GroupId> = self.topo.ring(self.topo.domains[self.sd().index()].groups).collect();
        for group in groups {
            self.topo.groups[group.index()].flags = flags;
        }
        self
    }

    pub fn level_flags(mut self, flags: SdFlags) -> Self {
        self.domain().flags |= flags;
        self
    }

    pub fn capacity(mut self, cpu: usize, capacity: u64, arch: u64) -> Self {
        self.rows[cpu] = self.rows[cpu].with_capacity(capacity, arch);
        self.with_capacities()
    }

    /// Group capacities from the rows.
    pub fn with_capacities(mut self) -> Self {
        for group in &self.topo.groups {
            let capacities: Vec<u64> = group.span.iter().map(|cpu| self.rows[cpu.index()].capacity).collect();
            let sgc = &mut self.topo.capacities[group.sgc.index()];
            sgc.capacity = capacities.iter().sum();
            sgc.min_capacity = *capacities.iter().min().unwrap();
            sgc.max_capacity = *capacities.iter().max().unwrap();
        }
        self
    }

    pub fn decide<T>(&self, with: impl FnOnce(&Search<'_, [CpuRow]>) -> T) -> T {
        self.decide_over(&CpuMask::all(self.rows.len()), with)
    }

    pub fn decide_over<T>(&self, cpus: &CpuMask, with: impl FnOnce(&Search<'_, [CpuRow]>) -> T) -> T {
        with(&Search {
            topo: &self.topo,
            view: self.rows.as_slice(),
            rules: &self.kernel.balance,
            sd: self.sd(),
            dst_cpu: CpuId(self.dst),
            idle: self.idle,
            cpus,
            energy_aware: EnergyAware::Off,
            gathering: sched_cache_enabled(self.kernel, &self.topo),
        })
    }

    pub fn src_group(&self) -> (SdStats, SrcGroup) {
        self.decide(|search| {
            let mut sds = search.update_sd_lb_stats();
            let found = search.find_src_group(&mut sds);
            (sds, found)
        })
    }

    /// Unit, amount and source queue, or the rule that found nothing.
    pub fn outcome(&self) -> Result<(MigrationType, i64, Option<u32>), GroupRule> {
        let (sds, found) = self.src_group();
        let Some(group) = found.group else { return Err(found.rule) };
        let imbalance = found.imbalance.unwrap();
        let unit = imbalance.migration_type.unwrap();
        let choice = SrcRq::new(imbalance.amount, unit, sds.fbq_type);
        let queue = self.decide(|search| search.find_src_rq(group, choice));
        Ok((unit, imbalance.amount, queue.map(|cpu| cpu.0)))
    }

    pub fn types(&self) -> Vec<GroupType> {
        self.decide(|search| {
            let groups = search.topo.ring(search.domain().groups);
            let mut sds = search.new_stats();
            groups.map(|group| search.visit(&mut sds, group).0.group_type).collect()
        })
    }
}

/// `llcs` caches of `cores` cores in one package: levels MC and PKG.
pub fn caches(llcs: u32, cores: u32) -> Machine {
    Machine::regular(1, llcs, cores, 1, false)
}

/// Two cores of two threads and two cores without.
pub fn hybrid() -> Machine {
    let mut machine = caches(1, 6);
    for (cpu, core) in [0, 0, 1, 1, 2, 3].into_iter().enumerate() {
        machine.cpus[cpu].core = core;
    }
    machine
}

/// A level over two small and two big CPUs, groups {0,1} and {2,3}.
pub fn big_little(
    kernel: &'static Kernel,
    rows: [(u32, u64, u64, u64); 4],
    capacities: [u64; 4],
    dst: u32,
) -> Case {
    let mut case = Case::of(kernel, &caches(2, 2), "PKG", &rows).dst(dst, IdleType::Idle);
    for (cpu, capacity) in capacities.into_iter().enumerate() {
        case = case.capacity(cpu, capacity, if cpu < 2 { 430 } else { 1024 });
    }
    let asym = SdFlags::ASYM_CPUCAPACITY | SdFlags::ASYM_CPUCAPACITY_FULL;
    case.level_flags(asym).group_flags(SdFlags::SHARE_LLC)
}
