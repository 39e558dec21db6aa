//! The story of a pass as JSON; names of fields and values are stable.
use super::super::idle::kebab;
use super::Story;
use evenkeel::balance::choose::Pick;
use evenkeel::balance::env::Trigger;
use evenkeel::balance::event::{BalanceEvent, NewIdleGate, TaskVerdict, Turn};
use evenkeel::ids::DomainId;
use serde_json::{Map, Value, json};

impl Story {
    /// For programs.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("explain".into(), json!("pass"));
        if let Some(BalanceEvent::PassBegin {
            pass,
            cpu,
            domain,
            idle,
            trigger,
            nr_balance_failed,
            balance_interval,
            imbalance_pct,
            cache_nice_tries,
        }) = self.events.first()
        {
            let (trigger, on_cpu) = match trigger {
                Trigger::Periodic => ("periodic", *cpu),
                Trigger::Nohz { on_cpu } => ("nohz", *on_cpu),
                Trigger::NewIdle => ("new-idle", *cpu),
            };
            let facts = [
                ("pass", json!(pass)),
                ("time_ns", json!(self.at)),
                ("cpu", json!(cpu.0)),
                ("on_cpu", json!(on_cpu.0)),
                ("level", json!(self.facts.level(*domain))),
                ("span", json!(self.facts.span(*domain).to_string())),
                ("idle", json!(kebab(idle))),
                ("trigger", json!(trigger)),
                ("nr_balance_failed", json!(nr_balance_failed)),
                ("balance_interval_ms", json!(balance_interval)),
                ("imbalance_pct", json!(imbalance_pct)),
                ("cache_nice_tries", json!(cache_nice_tries)),
            ];
            object.extend(facts.map(|(key, value)| (key.to_owned(), value)));
        }
        object.insert("kick".into(), self.kick.map_or(Value::Null, |kick| {
            json!({"time_ns": kick.at, "by": kick.by.0, "target": kick.target.0, "reason": kebab(&kick.reason)})
        }));
        object.insert("tick_ns".into(), json!(self.tick));
        object.insert(
            "due".into(),
            self.due.map_or(
                Value::Null,
                |due| json!({"since_ns": self.facts.time_of(due.since), "busy": due.busy}),
            ),
        );
        object.insert("gates".into(), self.gates.iter().map(|gate| self.gate(gate)).collect());
        object.insert("steps".into(), self.events[1..].iter().filter_map(|event| self.step(event)).collect());
        let pushed = self.pushed.iter().filter_map(|(at, event)| {
            let mut step = self.step(event)?;
            step.as_object_mut()?.insert("time_ns".into(), json!(at));
            Some(step)
        });
        object.insert("stopper".into(), pushed.collect());
        Value::Object(object)
    }

    fn gate(&self, gate: &NewIdleGate) -> Value {
        let level = |domain: &DomainId| self.facts.level(*domain);
        match gate {
            NewIdleGate::Dice { domain, dice, ratio } => {
                json!({"gate": "dice", "level": level(domain), "dice": dice, "ratio": ratio})
            }
            NewIdleGate::Passed { domain, moved, cost } => {
                json!({"gate": "passed", "level": level(domain), "moved": moved, "cost_ns": cost})
            }
            NewIdleGate::LevelExcluded { domain } => json!({"gate": "excluded", "level": level(domain)}),
            // The others end the walk: no pass follows them.
            other => json!({"gate": format!("{other:?}")}),
        }
    }

    fn step(&self, event: &BalanceEvent) -> Option<Value> {
        Some(match event {
            BalanceEvent::Turn { dst_cpu, turn, .. } => {
                let chosen = match turn {
                    Turn::IdleCore(cpu) | Turn::IdleThread(cpu) | Turn::BalanceCpu(cpu) => Some(cpu.0),
                    Turn::NewlyIdle => Some(dst_cpu.0),
                    Turn::WorkArrived | Turn::NotCandidate => None,
                };
                let rule = match turn {
                    Turn::IdleCore(_) => "idle-core",
                    Turn::IdleThread(_) => "idle-thread",
                    Turn::BalanceCpu(_) => "balance-cpu",
                    Turn::NewlyIdle => "newly-idle",
                    Turn::WorkArrived => "work-arrived",
                    Turn::NotCandidate => "not-candidate",
                };
                json!({"step": "turn", "ours": turn.is_for(*dst_cpu), "rule": rule, "cpu": chosen})
            }
            BalanceEvent::Group { group, stats, pick, .. } => {
                let (verdict, rule) = match pick {
                    Pick::Local => ("local", None),
                    Pick::Taken(rule) => ("busiest", Some(kebab(rule))),
                    Pick::Refused(rule) => ("refused", Some(kebab(rule))),
                };
                json!({
                    "step": "group",
                    "cpus": self.facts.group(*group).to_string(),
                    "type": stats.group_type.name(),
                    "load": stats.group_load,
                    "util": stats.group_util,
                    "runnable": stats.group_runnable,
                    "nr_running": stats.sum_nr_running,
                    "h_nr_running": stats.sum_h_nr_running,
                    "idle_cpus": stats.idle_cpus,
                    "weight": stats.group_weight,
                    "capacity": stats.group_capacity,
                    "avg_load": stats.avg_load,
                    "misfit_task_load": stats.group_misfit_task_load,
                    "nr_pref_dst_llc": stats.nr_pref_dst_llc,
                    "verdict": verdict,
                    "rule": rule,
                })
            }
            BalanceEvent::SrcGroup { busiest, local_avg_load, domain_avg_load, verdict, .. } => json!({
                "step": "source-group",
                "busiest": busiest.map(|group| self.facts.group(group).to_string()),
                "chosen": verdict.group.map(|group| self.facts.group(group).to_string()),
                "rule": kebab(&verdict.rule),
                "local_avg_load": local_avg_load,
                "domain_avg_load": domain_avg_load,
                "migration_type":
                    verdict.imbalance.and_then(|imbalance| imbalance.migration_type).map(|kind| kind.name()),
                "imbalance": verdict.imbalance.map(|imbalance| imbalance.amount),
            }),
            BalanceEvent::Queue { cpu, h_nr_queued, load, util, capacity, verdict, .. } => json!({
                "step": "queue",
                "cpu": cpu.0,
                "h_nr_queued": h_nr_queued,
                "load": load,
                "util": util,
                "capacity": capacity,
                "verdict": kebab(verdict),
            }),
            BalanceEvent::SrcQueue { cpu, nr_running, imbalance, migration_type, .. } => json!({
                "step": "source-queue",
                "cpu": cpu.map(|cpu| cpu.0),
                "nr_running": nr_running,
                "imbalance": imbalance,
                "migration_type": migration_type.name(),
            }),
            BalanceEvent::Task { task, src_cpu, dst_cpu, imbalance, amount, since_exec, verdict, .. } => {
                let (moved, reason) = match verdict {
                    TaskVerdict::Moved { hot } => (true, hot.then(|| "cache-hot".to_owned())),
                    TaskVerdict::Refused(refusal) => (false, Some(kebab(refusal))),
                };
                json!({
                    "step": "task",
                    "task": task.0,
                    "name": self.facts.task(*task),
                    "from": src_cpu.0,
                    "to": dst_cpu.0,
                    "imbalance": imbalance,
                    "amount": amount,
                    "since_exec_ns": since_exec,
                    "moved": moved,
                    "reason": reason,
                })
            }
            BalanceEvent::NewDestination { cpu, .. } => json!({"step": "new-destination", "cpu": cpu.0}),
            BalanceEvent::Redo { without, .. } => json!({"step": "redo", "without": without.0}),
            BalanceEvent::ActiveBalanceStart { src_cpu, dst_cpu, curr, reason, .. } => json!({
                "step": "active-balance",
                "from": src_cpu.0,
                "to": dst_cpu.0,
                "running": curr.map(|task| task.0),
                "reason": kebab(reason),
            }),
            BalanceEvent::ActiveBalanceEnd { src_cpu, dst_cpu, task, .. } => json!({
                "step": "active-balance-done",
                "from": src_cpu.0,
                "to": dst_cpu.0,
                "task": task.map(|task| task.0),
            }),
            BalanceEvent::PassEnd {
                outcome,
                moved,
                flags,
                nr_balance_failed,
                balance_interval,
                cost,
                ..
            } => json!({
                "step": "end",
                "outcome": kebab(outcome),
                "moved": moved,
                "lbf_flags": flags.bits(),
                "nr_balance_failed": nr_balance_failed,
                "balance_interval_ms": balance_interval,
                "cost_ns": cost,
            }),
            _ => return None,
        })
    }
}
