//! Doubly linked lists of tasks with true list order: head and tail per list, links per task.
//!
//! The balancer scans a CPU's tasks from the tail (least recently run first) and moves those it skips to the head, so
//! order is behaviour. A task is on at most one list; moving it is O(1) and allocates nothing.
use crate::ids::TaskId;

/// The links of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    towards_head: Option<TaskId>,
    towards_tail: Option<TaskId>,
}

/// One list: its ends and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskList {
    head: Option<TaskId>,
    tail: Option<TaskId>,
    len: u32,
}

/// Where the links of tasks are kept.
pub trait LinkStore {
    /// The links of `task`.
    fn links(&mut self, task: TaskId) -> &mut Links;
}

impl TaskList {
    /// The least recently run task.
    #[inline]
    pub fn tail(&self) -> Option<TaskId> {
        self.tail
    }

    /// The task that was put there last.
    #[inline]
    pub fn head(&self) -> Option<TaskId> {
        self.head
    }

    /// The number of tasks.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the list is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The task before `task` on the way to the head.
    #[inline]
    pub fn towards_head(&self, store: &mut impl LinkStore, task: TaskId) -> Option<TaskId> {
        store.links(task).towards_head
    }

    /// Puts `task` at the head.
    #[inline]
    pub fn push_head(&mut self, store: &mut impl LinkStore, task: TaskId) {
        *store.links(task) = Links { towards_head: None, towards_tail: self.head };
        match self.head {
            Some(head) => store.links(head).towards_head = Some(task),
            None => self.tail = Some(task),
        }
        self.head = Some(task);
        self.len += 1;
    }

    /// Takes `task` off the list.
    #[inline]
    pub fn remove(&mut self, store: &mut impl LinkStore, task: TaskId) {
        let Links { towards_head, towards_tail } = core::mem::take(store.links(task));
        match towards_head {
            Some(other) => store.links(other).towards_tail = towards_tail,
            None => self.head = towards_tail,
        }
        match towards_tail {
            Some(other) => store.links(other).towards_head = towards_head,
            None => self.tail = towards_head,
        }
        self.len -= 1;
    }

    /// Moves `task`, which is on the list, to the head.
    #[inline]
    pub fn move_to_head(&mut self, store: &mut impl LinkStore, task: TaskId) {
        if self.head != Some(task) {
            self.remove(store, task);
            self.push_head(store, task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    struct Store(Vec<Links>);
    impl LinkStore for Store {
        fn links(&mut self, task: TaskId) -> &mut Links {
            &mut self.0[task.index()]
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_sequence(ops in prop::collection::vec((0u32..8, 0u8..3), 0..80)) {
            let mut store = Store(vec![Links::default(); 8]);
            let mut list = TaskList::default();
            let mut model: Vec<u32> = Vec::new(); // tail first
            for (task, op) in ops {
                let at = model.iter().position(|&t| t == task);
                match (op, at) {
                    (0, None) => { list.push_head(&mut store, TaskId(task)); model.push(task); }
                    (1, Some(at)) => { list.remove(&mut store, TaskId(task)); model.remove(at); }
                    (2, Some(at)) => { list.move_to_head(&mut store, TaskId(task)); model.remove(at); model.push(task); }
                    _ => {}
                }
                let mut got = Vec::new();
                let mut next = list.tail();
                while let Some(task) = next {
                    got.push(task.0);
                    next = list.towards_head(&mut store, task);
                }
                prop_assert_eq!(&got, &model);
                prop_assert_eq!(list.len() as usize, model.len());
            }
        }
    }
}
