// What the agent counts, as a client of the protocol is told it.

import assert from "node:assert/strict";

import protobuf from "protobufjs";

/** The message families of the metrics format, as far as this agent fills them in. */
const Family = protobuf
  .parse(
    `syntax = "proto3"; package io.prometheus.client;
     message LabelPair { string name = 1; string value = 2; }
     message Gauge { double value = 1; }
     message Counter { double value = 1; }
     message Metric { repeated LabelPair label = 1; Gauge gauge = 2; Counter counter = 3; int64 timestamp_ms = 6; }
     enum MetricType { COUNTER = 0; GAUGE = 1; SUMMARY = 2; UNTYPED = 3; HISTOGRAM = 4; }
     message MetricFamily { string name = 1; string help = 2; MetricType type = 3; repeated Metric metric = 4; }`,
  )
  .root.lookupType("io.prometheus.client.MetricFamily");

/** The families, by their names. */
export async function metrics(crosis) {
  const answer = await crosis.chan0.request({ metrics: {} });
  assert.equal(answer.body, "metrics");
  const families = answer.metrics.prometheusMetricFamilies.map((bytes) => Family.decode(bytes));
  return new Map(families.map((family) => [family.name, family]));
}
