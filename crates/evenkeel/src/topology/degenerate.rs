//! Removal of levels that add nothing to the level below, or nothing at all.
//!
//! Example: on a machine without SMT the lowest level holds one CPU and is useless; on one node NODE spans what PKG
//! spans and is redundant. What is removed leaves traces: `level` numbers are not renumbered, groups may carry the flags
//! of a removed level, and `SD_PREFER_SIBLING` moves down from a removed parent.
//!
//! In the kernel: `cpu_attach_domain`, `sd_degenerate`, `sd_parent_degenerate`.
use super::build::Draft;
use super::domain::{Domain, SdFlags};
use super::rules::{Degeneration, GroupFlags, LlcSharing};
use crate::ids::{CpuId, DomainId};

/// Flags that matter only between groups; a level with one group does not need them (spec 1 §10).
#[derive(Clone, Copy)]
struct NeedGroups {
    /// For levels that stand alone.
    alone: SdFlags,
    /// For levels compared with the one below.
    parent: SdFlags,
}

impl NeedGroups {
    fn new(rule: Degeneration, one_node: bool) -> Self {
        let short = SdFlags::LOAD_BALANCE
            | SdFlags::BALANCE_NEWIDLE
            | SdFlags::BALANCE_FORK
            | SdFlags::BALANCE_EXEC
            | SdFlags::SHARE_CPUCAPACITY
            | SdFlags::ASYM_CPUCAPACITY
            | SdFlags::SHARE_LLC
            | SdFlags::SHARE_POWERDOMAIN;
        match rule {
            Degeneration::AllFlags => {
                let all = SdFlags::all().difference(SdFlags::WAKE_AFFINE);
                Self { alone: all, parent: all }
            }
            Degeneration::ShortList => {
                let serialize = if one_node { SdFlags::SERIALIZE } else { SdFlags::empty() };
                Self { alone: short, parent: short | SdFlags::PREFER_SIBLING | serialize }
            }
        }
    }
}

impl Draft<'_> {
    /// Removes the levels of one CPU that add nothing, and repairs what pointed to them (spec 1 §10).
    pub(super) fn degenerate(&mut self, cpu: CpuId) {
        let need = NeedGroups::new(self.rules().degeneration, self.machine.nr_nodes == 1);
        let Some(base) = self.base[cpu.index()] else { return };
        let mut this = base;
        while let Some(parent) = self.domains[this.index()].parent {
            if self.is_redundant(this, parent, need) {
                self.remove_parent(this, parent);
            } else {
                this = parent;
            }
        }
        if self.is_useless(base, need) {
            self.remove_base(cpu, base);
        }
    }

    fn has_one_group(&self, domain: &Domain) -> bool {
        self.groups[domain.groups.index()].next == domain.groups
    }

    /// Whether a level does nothing for anyone (`sd_degenerate`).
    fn is_useless(&self, domain: DomainId, need: NeedGroups) -> bool {
        let domain = &self.domains[domain.index()];
        if domain.span_weight == 1 {
            return true;
        }
        if domain.flags.intersects(need.alone) && !self.has_one_group(domain) {
            return false;
        }
        !domain.flags.contains(SdFlags::WAKE_AFFINE)
    }

    /// Whether a level does nothing that the one below does not do (`sd_parent_degenerate`).
    fn is_redundant(&self, child: DomainId, parent: DomainId, need: NeedGroups) -> bool {
        if self.is_useless(parent, need) {
            return true;
        }
        if self.span_id(child) != self.span_id(parent) {
            return false;
        }
        let parent = &self.domains[parent.index()];
        let mut flags = parent.flags;
        if self.has_one_group(parent) {
            flags.remove(need.parent);
        }
        self.domains[child.index()].flags.contains(flags)
    }

    fn remove_parent(&mut self, this: DomainId, parent: DomainId) {
        let removed = &self.domains[parent.index()];
        let (above, shared) = (removed.parent, removed.shared);
        let prefer_sibling = removed.flags & SdFlags::PREFER_SIBLING;
        let kept = &mut self.domains[this.index()];
        kept.parent = above;
        // The entry group above learns the flags as they are now, before the next line changes them.
        let flags = kept.flags;
        kept.flags |= prefer_sibling;
        if shared.is_some() && self.host.kernel.topology.llc_shared == LlcSharing::TopmostAndAsym {
            kept.shared = shared;
        }
        if let Some(above) = above {
            self.domains[above.index()].child = Some(this);
            if self.rules().group_flags == GroupFlags::EntryRepaired {
                let entry = self.domains[above.index()].groups;
                self.groups[entry.index()].flags = flags;
            }
        }
    }

    fn remove_base(&mut self, cpu: CpuId, base: DomainId) {
        let next = self.domains[base.index()].parent;
        self.base[cpu.index()] = next;
        if let Some(next) = next {
            self.domains[next.index()].child = None;
            let entry = self.domains[next.index()].groups;
            self.groups[entry.index()].flags = SdFlags::empty();
        }
    }
}
