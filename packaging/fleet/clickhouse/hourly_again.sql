-- Makes the hours of one day anew from its connections, without what was delivered twice; for a day that is over, and whose
-- lines have come: `clickhouse-client --param_day=2026-11-27 --queries-file hourly_again.sql`.

DELETE FROM tcptrace.hourly WHERE toDate(hour) = {day:Date};

INSERT INTO tcptrace.hourly
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
FROM tcptrace.connections FINAL
WHERE toDate(ts) = {day:Date}
GROUP BY hour, server_port, server_ip, vantage;
