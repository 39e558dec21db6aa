#![allow(missing_docs, clippy::print_stdout)]
use evenkeel::topology::Machine;
use evenkeel_formats::conform::traces::read_meta;
use evenkeel_formats::ftrace::*;
use evenkeel_report::conform::traces::simulate::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let topo = &args[2];
    let machine = if topo == "c4t2" { Machine::regular(1, 1, 4, 2, false) } else { Machine::regular(2, 1, 2, 2, true) };
    let set = read_meta(std::path::Path::new(&format!("{}/{topo}/meta.json", args[1]))).unwrap();
    let run_ = set.runs.iter().find(|r| r.name == args[3]).unwrap();
    let kernel = evenkeel::kernels::find("6.12").unwrap();
    let (rec, w) = run(&machine, kernel, &run_.name, &run_.spec, evenkeel_report::conform::traces::machine::Conditions::of_boot([run_.read_trace().unwrap().records.as_slice()], 8), args[4].parse().unwrap()).unwrap();
    println!("# window {} {}", w.from, w.until);
    for r in rec {
        let h = |e: &str, p: String| println!("x-0 [{:03}] {} {:.6}: {e}: {p}", r.cpu, if r.interrupt {"d.h2."} else {"d..2."}, r.at as f64 / 1e9);
        match &r.event {
            TraceEvent::Switch { prev, prev_state, next } => h("sched_switch", format!("prev_comm=t{} prev_pid={} prev_prio=120 prev_state={} ==> next_comm={} next_pid={} next_prio=120", prev.pid, prev.pid, match prev_state { LeftAs::Runnable => "R", LeftAs::Blocked => "S", LeftAs::Dead => "Z" }, if next.pid == 0 { format!("swapper/{}", r.cpu) } else { format!("t{}", next.pid) }, next.pid)),
            TraceEvent::Migrate { task, orig_cpu, dest_cpu } => h("sched_migrate_task", format!("comm=t{} pid={} prio=120 orig_cpu={orig_cpu} dest_cpu={dest_cpu}", task.pid, task.pid)),
            TraceEvent::Waking { task, target_cpu } => h("sched_waking", format!("comm=t{} pid={} prio=120 target_cpu={target_cpu}", task.pid, task.pid)),
            TraceEvent::Wakeup { task, target_cpu } => h("sched_wakeup", format!("comm=t{} pid={} prio=120 target_cpu={target_cpu}", task.pid, task.pid)),
            TraceEvent::WakeupNew { task, target_cpu } => h("sched_wakeup_new", format!("comm=t{} pid={} prio=120 target_cpu={target_cpu}", task.pid, task.pid)),
            TraceEvent::Fork { parent, child } => h("sched_process_fork", format!("comm=t{} pid={} child_comm=t{} child_pid={}", parent.pid, parent.pid, child.pid, child.pid)),
            TraceEvent::Exit { task } => h("sched_process_exit", format!("comm=t{} pid={} prio=120", task.pid, task.pid)),
            _ => {}
        }
    }
}
