//! The agent's own figures, asked for on channel 0.

use anyhow::{Context, Result};
use pid1_sdk::api::{Metrics, command::Body};
use prost::Message;

use crate::client::Client;

/// A Prometheus metric family, as far as a single gauge or counter needs it.
#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
}

/// The figure of that name.
pub fn figure(client: &mut Client, name: &str) -> Result<f64> {
    let all = Metrics::decode(client.ask(0, Body::Metrics(Metrics::default()))?.body)?;
    for family in all.prometheus_metric_families {
        let family = Family::decode(family)?;
        if family.name == name {
            let metric = family.metric.first().and_then(|metric| metric.gauge.or(metric.counter));
            return Ok(metric.with_context(|| format!("{name} has no value"))?.value);
        }
    }
    anyhow::bail!("the agent has no figure {name}")
}
