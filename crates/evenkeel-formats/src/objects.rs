//! The table of what tasks synchronise on: a name means one object per kind, made when it is first used.
use evenkeel::workload::{Object, ObjectId, ObjectKind};
use std::collections::BTreeMap;

/// Kinds as namespaces: a mutex and a condition may share a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Mutex,
    Condition,
    Barrier,
    Semaphore,
    Timer,
    Channel,
}

#[derive(Default)]
pub(crate) struct Objects {
    objects: Vec<Object>,
    by_name: BTreeMap<(Class, String), ObjectId>,
}

impl Objects {
    /// The object of that name, made if it is new.
    pub(crate) fn id(&mut self, class: Class, name: &str) -> ObjectId {
        if let Some(&id) = self.by_name.get(&(class, name.to_owned())) {
            return id;
        }
        let id = ObjectId(u32::try_from(self.objects.len()).expect("fewer objects than bytes of text"));
        let kind = match class {
            Class::Mutex => ObjectKind::Mutex,
            Class::Condition => ObjectKind::Condition,
            Class::Barrier => ObjectKind::Barrier { parties: 0 },
            Class::Semaphore => ObjectKind::Semaphore { initial: 0 },
            Class::Timer => ObjectKind::Timer,
            Class::Channel => ObjectKind::Channel,
        };
        self.objects.push(Object { name: name.to_owned(), kind });
        self.by_name.insert((class, name.to_owned()), id);
        id
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId) -> &mut Object {
        &mut self.objects[id.0 as usize]
    }

    /// More arrivals open a barrier.
    pub(crate) fn add_parties(&mut self, id: ObjectId, more: u32) {
        if let ObjectKind::Barrier { parties } = &mut self.get_mut(id).kind {
            *parties = parties.saturating_add(more);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Object> {
        self.objects
    }
}
