//! Makes a page of captures, or of the lines of JSON that traces have written.

use super::{
    RunError,
    events::{EventFiles, Selection},
    filter, print,
};
use crate::{
    cli::{FilterText, ReportConfig},
    confine::{self, Purpose},
    sink::{files::Whole, report::Report, units::plain},
};
use std::sync::Arc;

/// The access mode of a page that is new, as of all files that a trace writes: it tells who talks to whom.
const MODE: u32 = 0o600;

/// Reads the files to their end, and writes the page. Where a file is damaged, the page is of what comes before the damage and says
/// so, and then the damage is the error.
pub fn report(config: &ReportConfig) -> Result<(), RunError> {
    let filter = filter::compile(&config.filter)?;
    let files = EventFiles::open(&config.files)?;
    let page = match &config.output {
        None => None,
        Some(path) => {
            let page = Whole::open(path, MODE)?;
            if page.file().is_some_and(|file| files.have(file)) {
                return Err(RunError::Same { path: path.clone() });
            }
            Some(page.start(&(Arc::new(confine::confine_to_folder) as _))?)
        }
    };
    confine::confine(Purpose::File, &[])?;
    let names = config.files.iter().map(|path| plain(&path.to_string_lossy()).into_owned());
    let mut report = Report::new(names.collect());
    if let FilterText::Given(text) = &config.filter
        && !text.is_empty()
    {
        report.filtered(text);
    }
    let read = files.read(&Selection::new(filter, config.decap), &mut |event| {
        report.observe(event);
        Ok(true)
    });
    match &read {
        // Damage does not take back what was read before it.
        Ok(()) => {}
        Err(error @ (RunError::File(_) | RunError::Line { .. })) => report.damaged(error.to_string()),
        Err(_) => return read,
    }
    let html = report.render();
    if let Some(page) = page {
        page.write(html.into_bytes())?;
    } else {
        print(html.as_bytes())?;
    }
    read
}
