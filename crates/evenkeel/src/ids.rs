//! Names of things: every object lives in an arena and is referred to by a small number of its own type.
use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The number as an index into the arena that holds the object.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
            /// The id of the object at `index` of its arena; panics beyond `u32::MAX`.
            #[inline]
            pub fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).expect("an arena holds at most 2^32 objects"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// A logical CPU, by the kernel's number.
    CpuId, "cpu"
);
id!(
    /// A task, by order of creation (not a PID).
    TaskId, "task"
);
id!(
    /// A scheduling entity: a task or, on a group's queue, the group.
    SeId, "se"
);
id!(
    /// A fair run queue; the root queue of CPU `n` is queue `n`.
    QueueId, "queue"
);
id!(
    /// A scheduling domain: one per CPU and level.
    DomainId, "domain"
);
id!(
    /// A scheduling group, a member of a domain's ring.
    GroupId, "group"
);
id!(
    /// A group capacity, shared by all groups that mean the same CPUs.
    CapacityId, "sgc"
);
id!(
    /// The state shared by the CPUs of one last-level cache.
    SharedId, "shared"
);
id!(
    /// A memory node.
    NodeId, "node"
);
id!(
    /// A root domain: a partition of the machine that balances by itself.
    RootId, "root"
);
id!(
    /// A process: a group of threads that share their memory.
    ProcessId, "process"
);
id!(
    /// A task group (`cpu` control group); 0 is the root group.
    TgId, "group"
);
