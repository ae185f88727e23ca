-- Tables for the events of many hosts. docs/fleet.md explains them.
--
-- A column of `connections` has the name of the event's field, and an element of a tuple that of the field within: an
-- insert takes tcptrace's lines as they are (FORMAT JSONEachRow). Fields that are no columns are passed over. The only
-- addition is `from_host`, which the shipper puts into each line. What is null in a line is NULL here, and never 0.

CREATE DATABASE IF NOT EXISTS tcptrace;

-- One row for each `connection` event.
CREATE TABLE IF NOT EXISTS tcptrace.connections
(
    -- Which line it is: of which host, when, and which connection.
    from_host LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    id UInt64 CODEC(Delta, ZSTD(1)),
    interface LowCardinality(String),
    ip_version UInt8,
    client Tuple(
        ip IPv6,
        port UInt16) CODEC(ZSTD(1)),
    server Tuple(
        ip IPv6,
        port UInt16) CODEC(ZSTD(1)),
    -- It is a hash of the four-tuple, so that it takes no space: it is worked out where a question names it.
    community_id String ALIAS arrayMap(
        ends -> concat('1:', base64Encode(SHA1(concat(
            unhex('0000'), substring(ends[1], if(ip_version = 4, 13, 1), if(ip_version = 4, 4, 16)),
            substring(ends[2], if(ip_version = 4, 13, 1), if(ip_version = 4, 4, 16)),
            unhex('0600'), substring(ends[1], 17), substring(ends[2], 17))))),
        [arraySort([
            concat(reinterpretAsFixedString(client.ip), reverse(reinterpretAsFixedString(client.port))),
            concat(reinterpretAsFixedString(server.ip), reverse(reinterpretAsFixedString(server.port)))])])[1],
    -- The client's address and the service, the server's address and port, as people write them.
    client_address String ALIAS replaceOne(toString(client.ip), '::ffff:', ''),
    service String ALIAS if(ip_version = 4,
        concat(replaceOne(toString(server.ip), '::ffff:', ''), ':', toString(server.port)),
        concat('[', toString(server.ip), ']:', toString(server.port))),
    vantage LowCardinality(String),
    complete Bool,
    partial Bool,

    -- How it ended, and by whom.
    outcome LowCardinality(String),
    failed Bool,
    closed_by LowCardinality(Nullable(String)),
    reset_by LowCardinality(Nullable(String)),
    reset_phase LowCardinality(Nullable(String)),
    no_such_connection Bool,
    icmp_error Tuple(
        `from` Nullable(IPv6),
        meaning LowCardinality(Nullable(String))) CODEC(ZSTD(1)),
    accept_queue Tuple(
        waiting Nullable(UInt32),
        `limit` Nullable(UInt32)) CODEC(ZSTD(1)),
    synack_again LowCardinality(Nullable(String)),
    challenge_ack Bool,

    -- How long it took. These are nanoseconds, as the names say.
    syn_to_established_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    syn_to_synack_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    synack_to_ack_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    syn_retry_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    first_response_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    first_response_server_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    close_wait_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    teardown_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    lifetime_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),

    -- What it carried, and what was sent again.
    client_bytes Nullable(UInt64) CODEC(ZSTD(1)),
    server_bytes Nullable(UInt64) CODEC(ZSTD(1)),
    syn_retransmits UInt32 CODEC(ZSTD(1)),
    synack_retransmits UInt32 CODEC(ZSTD(1)),
    client_fins UInt32 CODEC(ZSTD(1)),
    server_fins UInt32 CODEC(ZSTD(1)),
    client_rsts UInt32 CODEC(ZSTD(1)),
    server_rsts UInt32 CODEC(ZSTD(1)),
    client_socket Tuple(
        rtt_ns Nullable(UInt64),
        min_rtt_ns Nullable(UInt64),
        retransmits Nullable(UInt32),
        segments_out Nullable(UInt32),
        segments_in Nullable(UInt32)) CODEC(ZSTD(1)),
    server_socket Tuple(
        rtt_ns Nullable(UInt64),
        min_rtt_ns Nullable(UInt64),
        retransmits Nullable(UInt32),
        segments_out Nullable(UInt32),
        segments_in Nullable(UInt32)) CODEC(ZSTD(1)),

    -- By which the lines of both hosts are found. They are random, so that no codec makes them much smaller.
    client_isn Nullable(UInt32) CODEC(ZSTD(1)),
    server_isn Nullable(UInt32) CODEC(ZSTD(1)),

    -- Whose it is.
    server_name LowCardinality(Nullable(String)),
    client_process Tuple(
        comm LowCardinality(Nullable(String)),
        user LowCardinality(Nullable(String))) CODEC(ZSTD(1)),
    server_process Tuple(
        comm LowCardinality(Nullable(String)),
        user LowCardinality(Nullable(String))) CODEC(ZSTD(1)),
    client_cgroup Tuple(
        unit LowCardinality(Nullable(String)),
        container LowCardinality(Nullable(String)),
        pod LowCardinality(Nullable(String))) CODEC(ZSTD(1)),
    server_cgroup Tuple(
        unit LowCardinality(Nullable(String)),
        container LowCardinality(Nullable(String)),
        pod LowCardinality(Nullable(String))) CODEC(ZSTD(1)),

    INDEX by_client client.ip TYPE bloom_filter(0.01) GRANULARITY 1
)
-- A line that comes twice has the same key, and of rows with the same key one is left.
ENGINE = ReplacingMergeTree
PARTITION BY toDate(ts)
-- The questions are about a service and a time. Rows that are alike lie together, which makes them small.
PRIMARY KEY (server.port, server.ip, toStartOfHour(ts))
ORDER BY (server.port, server.ip, toStartOfHour(ts), from_host, ts, id)
TTL toDateTime(ts) + INTERVAL 30 DAY
-- A block that comes again unchanged is not written again, nor seen by the views below.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- All other events, as their lines are (FORMAT LineAsString), also lines that were cut: these have 1970 for a time, and go at once. `start` and `stats` say which host was traced when, and what
-- was lost there.
CREATE TABLE IF NOT EXISTS tcptrace.events
(
    line String CODEC(ZSTD(3)),
    from_host LowCardinality(String) MATERIALIZED JSONExtractString(line, 'from_host'),
    event LowCardinality(String) MATERIALIZED JSONExtractString(line, 'event'),
    ts DateTime64(9, 'UTC') MATERIALIZED parseDateTime64BestEffortOrZero(JSONExtractString(line, 'ts'), 9, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(ts)
ORDER BY (event, from_host, ts, cityHash64(line))
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- What is left of connections after their 30 days: for each hour, service and vantage their number, and quantiles whose
-- states can be merged over any hours. DDSketch is right within one percent of the time itself. The view counts lines as they
-- come: hourly_again.sql counts a day again, without what was delivered twice.
CREATE TABLE IF NOT EXISTS tcptrace.hourly
(
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    server_port UInt16,
    server_ip IPv6,
    vantage LowCardinality(String),
    connections SimpleAggregateFunction(sum, UInt64),
    failed SimpleAggregateFunction(sum, UInt64),
    resets SimpleAggregateFunction(sum, UInt64),
    syn_to_established AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.99), Nullable(UInt64)) CODEC(ZSTD(3)),
    first_response AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.99), Nullable(UInt64)) CODEC(ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (server_port, server_ip, vantage, hour)
TTL hour + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS tcptrace.hourly_view TO tcptrace.hourly AS
SELECT
    toStartOfHour(ts) AS hour,
    server.port AS server_port,
    server.ip AS server_ip,
    vantage,
    count() AS connections,
    countIf(failed) AS failed,
    countIf(outcome = 'reset') AS resets,
    quantilesDDState(0.01, 0.5, 0.9, 0.99)(syn_to_established_ns) AS syn_to_established,
    quantilesDDState(0.01, 0.5, 0.9, 0.99)(first_response_ns) AS first_response
FROM tcptrace.connections
GROUP BY hour, server_port, server_ip, vantage;
