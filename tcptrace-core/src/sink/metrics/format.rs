//! The formats that metrics are written in, and which of them a client asks for.

/// The format that metrics are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text format of Prometheus, with classic buckets.
    Text,
    /// The text format of `OpenMetrics`, with classic buckets.
    OpenMetrics,
    /// The protobuf format of Prometheus, with classic buckets and native histograms.
    Protobuf,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_client::encoding::prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The format that a client prefers, by its header `Accept` (RFC 9110 §12.5.1): of those with the greatest weight the one
    /// that is named first, and text if none is known.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(key, value)| (key, unquoted(value)))
                .collect();
            let Some(format) = Self::of_media(&media, &parameters) else { continue };
            let weight = find(&parameters, "q").map_or(Some(1.0), |q| q.parse().ok()).unwrap_or(0.0);
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    fn of_media(media: &str, parameters: &[(&str, &str)]) -> Option<Self> {
        let parameter = |key| find(parameters, key);
        match media {
            "application/vnd.google.protobuf" => {
                let is_ours = parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited");
                is_ours.then_some(Self::Protobuf)
            }
            "application/openmetrics-text" => match parameter("version") {
                None | Some("1.0.0" | "0.0.1") => Some(Self::OpenMetrics),
                Some(_) => None,
            },
            "text/plain" => match parameter("version") {
                None | Some("0.0.4") => Some(Self::Text),
                Some(_) => None,
            },
            "*/*" | "text/*" => Some(Self::Text),
            _ => None,
        }
    }
}

fn find<'a>(parameters: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn the_format_is_that_which_the_client_prefers() {
        let of_native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                         application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                         text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let of_classic = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (of_native, Format::Protobuf),
            (of_classic, Format::OpenMetrics),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("text/html, application/xhtml+xml;q=0.9", Format::Text),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.2", Format::Text),
            ("text/plain;q=0.2, application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0, text/plain; q=0.1", Format::Text),
            // Another message of protobuf is not ours.
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", Format::Text),
            ("application/vnd.google.protobuf", Format::Text),
            // No weight, nonsense, and a weight of nothing.
            ("application/openmetrics-text;q=x", Format::Text),
            ("application/openmetrics-text;q=NaN", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            (";;;,,,=;q=,", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
