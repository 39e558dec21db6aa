//! The fields of single events.
use super::{LeftAs, TraceEvent, TraceTask};

/// How a kernel prints the fields of an event that is read; `None` for all others.
pub(super) fn format(event: &str) -> Option<&'static str> {
    Some(match event {
        "sched_switch" => {
            "`prev_comm=NAME prev_pid=N prev_prio=N prev_state=S ==> next_comm=NAME next_pid=N next_prio=N`"
        }
        "sched_waking" | "sched_wakeup" | "sched_wakeup_new" => "`comm=NAME pid=N prio=N target_cpu=N`",
        "sched_migrate_task" => "`comm=NAME pid=N prio=N orig_cpu=N dest_cpu=N`",
        "sched_process_fork" => "`comm=NAME pid=N child_comm=NAME child_pid=N`",
        "sched_process_exit" => "`comm=NAME pid=N prio=N`",
        "cpu_idle" => "`state=N cpu_id=N`",
        _ => return None,
    })
}

/// Reads the fields of an event that has a [`format`].
pub(super) fn parse(event: &str, payload: &str) -> Option<TraceEvent> {
    Some(match event {
        "sched_switch" => switch(payload)?,
        "sched_waking" => {
            let (task, target_cpu) = wakeup(payload)?;
            TraceEvent::Waking { task, target_cpu }
        }
        "sched_wakeup" => {
            let (task, target_cpu) = wakeup(payload)?;
            TraceEvent::Wakeup { task, target_cpu }
        }
        "sched_wakeup_new" => {
            let (task, target_cpu) = wakeup(payload)?;
            TraceEvent::WakeupNew { task, target_cpu }
        }
        "sched_migrate_task" => migrate(payload)?,
        "sched_process_fork" => fork(payload)?,
        "sched_process_exit" => {
            let (task, _) = task(payload, "comm=", " pid=", |rest| number::<i32>(rest, " prio="))?;
            TraceEvent::Exit { task }
        }
        "cpu_idle" => idle(payload)?,
        _ => return None,
    })
}

/// A name after `comm_key` up to the last `pid_key` behind which a number follows and `rest` can read what is left.
fn task<T>(
    text: &str,
    comm_key: &str,
    pid_key: &str,
    rest: impl Fn(&str) -> Option<T>,
) -> Option<(TraceTask, T)> {
    let text = text.strip_prefix(comm_key)?;
    text.rmatch_indices(pid_key).find_map(|(at, _)| {
        let (pid, left) = leading_number::<i32>(&text[at + pid_key.len()..])?;
        Some((TraceTask { comm: text[..at].to_owned(), pid }, rest(left)?))
    })
}

/// `KEY` and a number, after which nothing follows that belongs to it.
fn number<T: core::str::FromStr>(text: &str, key: &str) -> Option<T> {
    let (number, rest) = leading_number(text.strip_prefix(key)?)?;
    (rest.is_empty() || rest.starts_with(' ')).then_some(number)
}

/// A number, which may be negative, and what follows.
fn leading_number<T: core::str::FromStr>(text: &str) -> Option<(T, &str)> {
    let sign = usize::from(text.starts_with('-'));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(sign + digits);
    Some((number.parse().ok()?, rest))
}

fn switch(payload: &str) -> Option<TraceEvent> {
    let next = |rest: &str| {
        let (_, rest) = leading_number::<i32>(rest.strip_prefix(" prev_prio=")?)?;
        let (state, rest) = rest.strip_prefix(" prev_state=")?.split_once(" ==> ")?;
        let (next, ()) =
            task(rest, "next_comm=", " next_pid=", |rest| number::<i32>(rest, " next_prio=").map(|_| ()))?;
        Some((left_as(state)?, next))
    };
    let (prev, (prev_state, next)) = task(payload, "prev_comm=", " prev_pid=", next)?;
    Some(TraceEvent::Switch { prev, prev_state, next })
}

/// Several states are joined by `|`; `+` marks a preemption inside the kernel.
fn left_as(state: &str) -> Option<LeftAs> {
    let letters = || state.trim_end_matches('+').split('|');
    if state.is_empty() || letters().any(|letter| !(letter.len() == 1 && letter.is_ascii())) {
        return None;
    }
    Some(if letters().any(|letter| letter == "X" || letter == "Z") {
        LeftAs::Dead
    } else if letters().all(|letter| letter == "R") {
        LeftAs::Runnable
    } else {
        LeftAs::Blocked
    })
}

fn wakeup(payload: &str) -> Option<(TraceTask, u32)> {
    task(payload, "comm=", " pid=", |rest| {
        let (_, rest) = leading_number::<i32>(rest.strip_prefix(" prio=")?)?;
        // 4.19 and older tools may show `success=1` in between.
        let rest = rest.strip_prefix(" success=1").unwrap_or(rest);
        number(rest, " target_cpu=")
    })
}

fn migrate(payload: &str) -> Option<TraceEvent> {
    let (task, (orig_cpu, dest_cpu)) = task(payload, "comm=", " pid=", |rest| {
        let (_, rest) = leading_number::<i32>(rest.strip_prefix(" prio=")?)?;
        let (orig_cpu, rest) = leading_number::<u32>(rest.strip_prefix(" orig_cpu=")?)?;
        Some((orig_cpu, number::<u32>(rest, " dest_cpu=")?))
    })?;
    Some(TraceEvent::Migrate { task, orig_cpu, dest_cpu })
}

fn fork(payload: &str) -> Option<TraceEvent> {
    let (parent, child) = task(payload, "comm=", " pid=", |rest| {
        let (child, ()) = task(rest.strip_prefix(' ')?, "child_comm=", " child_pid=", |rest| {
            rest.is_empty().then_some(())
        })?;
        Some(child)
    })?;
    Some(TraceEvent::Fork { parent, child })
}

fn idle(payload: &str) -> Option<TraceEvent> {
    let (state, rest) = leading_number::<u32>(payload.strip_prefix("state=")?)?;
    let cpu = number(rest, " cpu_id=")?;
    Some(TraceEvent::CpuIdle { state: (state != u32::MAX).then_some(state), cpu })
}
