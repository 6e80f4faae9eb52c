//! The tables: found, or created once by whichever slot comes first.

use super::error::{Kind, StoreError, TAKES_NO_WRITES};
use super::session::Session;

/// Version of `schema.sql`. Programs of several versions use the tables side by side while a
/// sidecar is swapped, so a new version only ever adds; `compatible` in the table says how far back
/// that holds.
const VERSION: i32 = 1;
const SCHEMA: &str = include_str!("schema.sql");

/// Lets one session at a time create the tables; the number is ours by convention only.
const LOCK: &str = "SELECT pg_advisory_xact_lock(8030605124521780837);";

const FIND: &str = "
    SELECT current_setting('server_encoding') AS encoding,
        current_setting('transaction_read_only')::boolean AS read_only,
        current_schema()::text AS schema,
        to_regclass('outrigger_schema') IS NOT NULL AND to_regclass('outrigger_entries') IS NOT NULL AS present";
const FIND_VERSION: &str =
    "SELECT version, compatible FROM outrigger_schema WHERE component = 'entries'";
const FIND_MISSING_RIGHTS: &str = "
    SELECT string_agg(privilege, ', ') AS missing
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE NOT has_table_privilege('outrigger_entries', privilege)";

/// The encoding that can hold every document.
const ENCODING: &str = "UTF8";

/// Makes sure that entries can be stored: a server that takes writes, our tables in a version that
/// we know, and the rights to use them.
pub(super) async fn ensure(session: &Session) -> Result<(), StoreError> {
    let found = Found::read(session).await?;
    if found.read_only {
        return Err(StoreError::before(Kind::ReadOnly, TAKES_NO_WRITES));
    }
    if found.encoding != ENCODING {
        return Err(schema_error(format!(
            "has a database with encoding {}; allowed is {ENCODING}",
            found.encoding
        )));
    }
    let known = match found.present {
        true => version(session).await?,
        false => None,
    };
    if known.is_none_or(|(version, _)| version < VERSION) {
        create(session, found.schema.as_deref()).await?;
    }
    match version(session).await? {
        Some((version, compatible)) if compatible > VERSION => Err(schema_error(format!(
            "has tables of version {version}, which programs before version {compatible} must not use; this one is of version {VERSION}"
        ))),
        Some(_) => check_rights(session).await,
        None => Err(schema_error(
            "has a table outrigger_schema without a line for the component entries".to_owned(),
        )),
    }
}

struct Found {
    encoding: String,
    read_only: bool,
    schema: Option<String>,
    present: bool,
}

impl Found {
    async fn read(session: &Session) -> Result<Found, StoreError> {
        let row = session.row(FIND, &[]).await?.ok_or_else(no_row)?;
        Ok(Found {
            encoding: row.try_get("encoding").map_err(unreadable)?,
            read_only: row.try_get("read_only").map_err(unreadable)?,
            schema: row.try_get("schema").map_err(unreadable)?,
            present: row.try_get("present").map_err(unreadable)?,
        })
    }
}

async fn version(session: &Session) -> Result<Option<(i32, i32)>, StoreError> {
    let Some(row) = session.row(FIND_VERSION, &[]).await? else {
        return Ok(None);
    };
    let version = row.try_get("version").map_err(unreadable)?;
    let compatible = row.try_get("compatible").map_err(unreadable)?;
    Ok(Some((version, compatible)))
}

async fn create(session: &Session, schema: Option<&str>) -> Result<(), StoreError> {
    let Some(schema) = schema else {
        return Err(schema_error(
            "has none of the schemas in the user's search_path, so the tables outrigger_schema and outrigger_entries cannot be created".to_owned(),
        ));
    };
    let created = session.transaction(&format!("{LOCK}{SCHEMA}")).await;
    match created {
        Ok(()) => {
            tracing::info!(schema, version = VERSION, "Tables were created");
            Ok(())
        }
        Err(error) if error.kind == Kind::Permission => Err(schema_error(format!(
            "lacks our tables, and the user may not create them in schema {schema}: grant CREATE on that schema, or let its owner run the statements of the page about the idempotency function ({})",
            error.message
        ))),
        Err(error) => Err(error),
    }
}

async fn check_rights(session: &Session) -> Result<(), StoreError> {
    let row = session.row(FIND_MISSING_RIGHTS, &[]).await?;
    let missing: Option<String> = row
        .ok_or_else(no_row)?
        .try_get("missing")
        .map_err(unreadable)?;
    match missing {
        None => Ok(()),
        Some(missing) => Err(StoreError::before(
            Kind::Permission,
            format!(
                "does not grant the user {missing} on the table outrigger_entries; needed are SELECT, INSERT, UPDATE and DELETE"
            ),
        )),
    }
}

fn schema_error(message: String) -> StoreError {
    StoreError::before(Kind::Schema, message)
}

fn no_row() -> StoreError {
    StoreError::before(
        Kind::Failed,
        "answered a query about its tables with nothing",
    )
}

fn unreadable(error: tokio_postgres::Error) -> StoreError {
    StoreError::before(
        Kind::Failed,
        format!("answered a query about its tables with something else: {error}"),
    )
}
