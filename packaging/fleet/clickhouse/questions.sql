-- Questions to the connections of many hosts. docs/fleet.md shows what they answer. Each begins with `-- NAME: question`.
--
-- FINAL leaves out what was delivered twice. Where both ends of a connection are on traced hosts there is a row of each, so
-- a question that counts connections takes those of one vantage.

-- slowest: How long do handshakes and first answers take, by service and hour?
SELECT
    toStartOfHour(ts) AS hour,
    service,
    count() AS connections,
    countIf(failed) AS failed,
    round(quantile(0.99)(syn_to_established_ns) / 1e6, 3) AS established_p99_ms,
    round(quantile(0.99)(first_response_ns) / 1e6, 3) AS first_response_p99_ms
FROM tcptrace.connections FINAL
WHERE vantage = 'client' AND ts >= now() - INTERVAL 1 DAY
GROUP BY hour, service
HAVING connections >= 100
ORDER BY established_p99_ms DESC
LIMIT 8;

-- slowest_by_hours: The same from the hourly states, which stay for a year.
SELECT
    hour,
    concat(replaceOne(toString(server_ip), '::ffff:', ''), ' ', toString(server_port)) AS server,
    sum(h.connections) AS connections,
    sum(h.failed) AS failed,
    round(quantilesDDMerge(0.01, 0.5, 0.9, 0.99)(syn_to_established)[3] / 1e6, 3) AS established_p99_ms,
    round(quantilesDDMerge(0.01, 0.5, 0.9, 0.99)(first_response)[3] / 1e6, 3) AS first_response_p99_ms
FROM tcptrace.hourly AS h
WHERE vantage = 'client' AND hour >= now() - INTERVAL 1 DAY
GROUP BY hour, server_ip, server_port
HAVING connections >= 100
ORDER BY established_p99_ms DESC
LIMIT 8;

-- failures: Which handshakes fail, and why?
SELECT
    outcome,
    multiIf(
        icmp_error.meaning IS NOT NULL, concat(icmp_error.meaning, ', says ', replaceOne(toString(icmp_error.`from`), '::ffff:', '')),
        accept_queue.waiting > accept_queue.`limit`, 'the accept queue is full',
        synack_again IS NOT NULL, synack_again,
        no_such_connection, 'no such connection',
        '') AS evidence,
    service,
    count() AS times,
    uniq(client.ip) AS clients,
    toDateTime(max(ts)) AS last
FROM tcptrace.connections FINAL
WHERE failed AND vantage = 'client' AND ts >= now() - INTERVAL 1 DAY
GROUP BY outcome, evidence, service
ORDER BY times DESC
LIMIT 10;

-- resets: Who resets whose connections, and when in their life?
SELECT
    reset_by,
    reset_phase,
    from_host AS by_host,
    if(reset_by = 'client', client_process.comm, server_process.comm) AS by_process,
    service,
    count() AS times
FROM tcptrace.connections FINAL
WHERE outcome = 'reset' AND vantage = reset_by AND ts >= now() - INTERVAL 1 DAY
GROUP BY reset_by, reset_phase, by_host, by_process, service
ORDER BY times DESC
LIMIT 8;

-- new_pairs: Which clients began to fail with which service in the last hour, and had not in the day before?
SELECT
    client_address,
    service,
    toDateTime(minIf(ts, failed)) AS first_failure,
    countIf(failed) AS failures,
    any(if(failed, outcome, NULL)) AS outcome,
    countIf(NOT failed) AS good_before
FROM tcptrace.connections FINAL
WHERE vantage = 'client' AND ts >= now() - INTERVAL 1 DAY
GROUP BY client_address, service
HAVING failures > 0 AND minIf(ts, failed) >= now() - INTERVAL 1 HOUR
ORDER BY first_failure
LIMIT 8;

-- both_hosts: How does one connection look from both hosts? These are the slowest first answers of the last hour.
SELECT
    c.from_host AS client,
    s.from_host AS server,
    c.service AS service,
    c.client_isn AS client_isn,
    c.server_isn AS server_isn,
    round(c.syn_to_established_ns / 1e6, 3) AS waited_ms,
    c.syn_retransmits AS syns_again,
    s.syn_retransmits AS arrived,
    round(c.first_response_ns / 1e6, 3) AS response_ms,
    round(s.first_response_ns / 1e6, 3) AS by_server_ms,
    c.client.ip != s.client.ip OR c.server != s.server AS translated
FROM (SELECT *, service FROM tcptrace.connections FINAL WHERE vantage = 'client' AND ts >= now() - INTERVAL 1 HOUR) AS c
INNER JOIN (SELECT *, service FROM tcptrace.connections FINAL WHERE vantage = 'server' AND ts >= now() - INTERVAL 1 HOUR) AS s
    ON c.client_isn = s.client_isn AND c.server_isn = s.server_isn
ORDER BY c.first_response_ns DESC
LIMIT 5;

-- one_way_loss: Which way between two hosts loses segments?
-- It compares what left the sender's host with what came to the receiver's, over connections that both hosts told
-- completely: SYNs, SYN-ACKs, and the FINs of the end that closed first (later ones may come when the other host has done with
-- the connection). `data` is of the sockets, where the client closed first: all its segments, with its FIN, and those that the
-- server's socket had by its own FIN.
SELECT
    client_host AS client,
    server_host AS server,
    count() AS connections,
    sum(c_out) AS to_server,
    sum(c_out) - sum(c_in) AS lost,
    round(100 * lost / to_server, 2) AS percent,
    sum(s_out) AS to_client,
    sum(s_out) - sum(s_in) AS lost_back,
    round(100 * lost_back / to_client, 2) AS percent_back,
    round(100 * (sum(data_out) - sum(data_in)) / sum(data_out), 2) AS data_percent
FROM
(
    SELECT
        c.from_host AS client_host,
        s.from_host AS server_host,
        c.closed_by = 'client' AND s.closed_by = 'client' AS by_client,
        c.closed_by = 'server' AND s.closed_by = 'server' AS by_server,
        toInt64(1 + c.syn_retransmits + if(by_client, c.client_fins, 0)) AS c_out,
        toInt64(1 + s.syn_retransmits + if(by_client, s.client_fins, 0)) AS c_in,
        toInt64(1 + s.synack_retransmits + if(by_server, s.server_fins, 0)) AS s_out,
        toInt64(1 + c.synack_retransmits + if(by_server, c.server_fins, 0)) AS s_in,
        if(by_client, toInt64(c.client_socket.segments_out), NULL) AS data_out,
        if(by_client, toInt64(s.server_socket.segments_in), NULL) AS data_in
    FROM (SELECT * FROM tcptrace.connections FINAL
          WHERE vantage = 'client' AND complete AND NOT partial AND ts >= now() - INTERVAL 1 DAY) AS c
    INNER JOIN (SELECT * FROM tcptrace.connections FINAL
          WHERE vantage = 'server' AND complete AND NOT partial AND ts >= now() - INTERVAL 1 DAY) AS s
        ON c.client_isn = s.client_isn AND c.server_isn = s.server_isn
)
GROUP BY client_host, server_host
ORDER BY lost + lost_back DESC
LIMIT 5;
