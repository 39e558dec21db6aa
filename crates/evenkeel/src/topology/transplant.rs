//! Copies of domains with everything they refer to: what is left of a build, and what survives a rebuild.
//!
//! Chains, rings and what they share are copied as far as they can be reached; objects get new ids without holes, in the
//! order of CPUs, levels and ring. Statistics come along.
use super::domain::{Domain, Domains, Group, GroupCapacity, LlcShared};
use crate::ids::{CapacityId, DomainId, GroupId, SharedId};
use alloc::vec;
use alloc::vec::Vec;

/// Where objects are copied from.
pub(super) struct Arenas<'a> {
    pub(super) domains: &'a [Domain],
    pub(super) groups: &'a [Group],
    pub(super) capacities: &'a [GroupCapacity],
    pub(super) shared: &'a [LlcShared],
}

/// Copies objects that are reachable and gives them new ids.
pub(super) struct Mover<'a> {
    from: &'a Arenas<'a>,
    groups: Vec<Option<GroupId>>,
    capacities: Vec<Option<CapacityId>>,
    shared: Vec<Option<SharedId>>,
}

impl<'a> Mover<'a> {
    pub(super) fn new(from: &'a Arenas<'a>) -> Self {
        Self {
            from,
            groups: vec![None; from.groups.len()],
            capacities: vec![None; from.capacities.len()],
            shared: vec![None; from.shared.len()],
        }
    }

    pub(super) fn move_chain(&mut self, base: Option<DomainId>, into: &mut Domains) -> Option<DomainId> {
        let first = base.map(|_| DomainId::from_index(into.domains.len()));
        let mut child = None;
        let mut next = base;
        while let Some(old) = next {
            let mut domain = self.from.domains[old.index()].clone();
            next = domain.parent;
            let id = DomainId::from_index(into.domains.len());
            domain.child = child;
            domain.parent = next.map(|_| DomainId(id.0 + 1));
            domain.groups = self.move_ring(domain.groups, into);
            domain.shared = domain.shared.map(|shared| self.move_shared(shared, into));
            into.domains.push(domain);
            child = Some(id);
        }
        first
    }

    fn move_ring(&mut self, first: GroupId, into: &mut Domains) -> GroupId {
        if let Some(known) = self.groups[first.index()] {
            return known;
        }
        let start = GroupId::from_index(into.groups.len());
        let mut old = first;
        loop {
            let mut group = self.from.groups[old.index()].clone();
            let id = GroupId::from_index(into.groups.len());
            self.groups[old.index()] = Some(id);
            old = group.next;
            group.next = if old == first { start } else { GroupId(id.0 + 1) };
            group.sgc = self.move_capacity(group.sgc, into);
            into.groups.push(group);
            if old == first {
                return start;
            }
        }
    }

    fn move_capacity(&mut self, old: CapacityId, into: &mut Domains) -> CapacityId {
        *self.capacities[old.index()].get_or_insert_with(|| {
            into.capacities.push(self.from.capacities[old.index()].clone());
            CapacityId::from_index(into.capacities.len() - 1)
        })
    }

    fn move_shared(&mut self, old: SharedId, into: &mut Domains) -> SharedId {
        *self.shared[old.index()].get_or_insert_with(|| {
            into.shared.push(self.from.shared[old.index()].clone());
            SharedId::from_index(into.shared.len() - 1)
        })
    }
}
