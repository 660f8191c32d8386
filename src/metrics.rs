//! The agent's own figures, as Prometheus metric families in protobuf: the form that the `metrics` message carries.

use std::sync::atomic::{AtomicU64, Ordering};

use pid1_sdk::api::Metrics;
use prost::Message;

use crate::router::Router;
use crate::sessions::Sessions;

/// `io.prometheus.client.MetricFamily`, as far as it is used here.
#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// 0 counter, 1 gauge.
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
}

fn counter(name: &str, help: &str, value: &AtomicU64) -> Family {
    let value = Value { value: value.load(Ordering::Relaxed) as f64 };
    let metric = vec![Metric { counter: Some(value), ..Metric::default() }];
    Family { name: name.to_owned(), help: help.to_owned(), kind: 0, metric }
}

fn gauge(name: &str, help: &str, value: usize) -> Family {
    gauges(name, help, [(Vec::new(), value)])
}

fn gauges(name: &str, help: &str, values: impl IntoIterator<Item = (Vec<Label>, usize)>) -> Family {
    let metric = values.into_iter().map(|(label, value)| Metric {
        label,
        gauge: Some(Value { value: value as f64 }),
        ..Metric::default()
    });
    Family { name: name.to_owned(), help: help.to_owned(), kind: 1, metric: metric.collect() }
}

/// Everything that is counted.
pub(crate) fn all(router: &Router, sessions: &Sessions) -> Metrics {
    let engine = router.engine();
    let counters = engine.counters();
    let instances = sessions
        .instances()
        .all()
        .into_iter()
        .map(|(id, running)| (vec![Label { name: "instance_id".to_owned(), value: id }], running));
    let families = [
        gauge("pid1_sessions", "sessions connected", sessions.connected()),
        gauge("pid1_channels", "channels running", router.running()),
        gauge("pid1_processes", "programs running", engine.processes().live()),
        gauges("pid1_exec_sessions", "sessions of ExecService by the instance they run for", instances),
        counter("pid1_sessions_total", "sessions begun", &counters.sessions),
        counter(
            "pid1_commands_dropped_total",
            "commands without ref for no channel",
            &counters.commands_dropped,
        ),
        counter(
            "pid1_frames_undecodable_total",
            "messages that were no command",
            &counters.frames_undecodable,
        ),
        counter("pid1_members_skipped_total", "times a slow member was skipped", &counters.members_skipped),
    ];
    let encoded = families.iter().map(|family| family.encode_to_vec().into()).collect();
    Metrics { prometheus_metric_families: encoded }
}
