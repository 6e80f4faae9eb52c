//! Databases of the lab's PostgreSQL, each with a role of its own.

use anyhow::Context;
use outrigger_lab::{Lab, Postgres};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::load::{Orders, Row};

/// The PostgreSQL server as pods know it.
pub const HOST: &str = "postgresql.database.svc";

/// A database and the role that it belongs to, both of one name.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: Postgres,
}

impl Database {
    /// Makes the role and the database, if they are missing.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn ensure(lab: &Lab, name: &str) -> anyhow::Result<Database> {
        let database = Database {
            name: name.to_owned(),
            server: lab.postgres(),
        };
        let server = database.administrator().await?;
        let exists = |table, column| format!("SELECT FROM {table} WHERE {column} = $1");
        if server
            .query_opt(&exists("pg_roles", "rolname"), &[&name])
            .await?
            .is_none()
        {
            let create = format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{name}'");
            server.batch_execute(&create).await?;
        }
        if server
            .query_opt(&exists("pg_database", "datname"), &[&name])
            .await?
            .is_none()
        {
            let create = format!("CREATE DATABASE \"{name}\" OWNER \"{name}\"");
            server.batch_execute(&create).await?;
        }
        Ok(database)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Secret by which a sidecar uses it.
    ///
    /// # Errors
    /// When the certificate of the server's authority cannot be read.
    pub fn secret(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        let file = &self.server.authority;
        let authority = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/basic-auth",
            "stringData": {"username": self.name, "password": self.name, "ca.crt": authority},
        }))
    }

    /// The stored orders of a run.
    ///
    /// # Errors
    /// When they cannot be read, or are not the run's.
    pub async fn rows(&self, orders: &Orders) -> anyhow::Result<Vec<Row>> {
        const ROWS: &str = "SELECT entry->>'orderId', id, (entry->>'number')::bigint \
             FROM outrigger_entries WHERE entry->>'orderId' LIKE $1";
        let client = self.connect(&self.name).await?;
        let rows = client.query(ROWS, &[&orders.id_pattern()]).await?;
        rows.into_iter()
            .map(|row| {
                let (id, index, number): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
                let key = orders.key_of(&id);
                let key = key.with_context(|| format!("{id} is no order of this run"))?;
                Ok((key, index, number.try_into()?))
            })
            .collect()
    }

    /// Runs statements in the database, as the server's administrator.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn execute(&self, statements: &str) -> anyhow::Result<()> {
        let client = self.connect(&self.name).await?;
        client
            .batch_execute(statements)
            .await
            .with_context(|| format!("cannot run {statements}"))
    }

    /// The only value that a query in the database gives.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn count(&self, query: &str) -> anyhow::Result<i64> {
        let client = self.connect(&self.name).await?;
        let row = client.query_one(query, &[]).await;
        Ok(row.with_context(|| format!("cannot run {query}"))?.get(0))
    }

    /// Lets its role only read from now on, or write again; sessions that are open end.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        let name = &self.name;
        let server = self.administrator().await?;
        let set = format!(
            "ALTER ROLE \"{name}\" IN DATABASE \"{name}\" SET default_transaction_read_only = {read_only}"
        );
        server.batch_execute(&set).await?;
        self.end_sessions(&server).await
    }

    /// Removes the database and its role.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn remove(self) -> anyhow::Result<()> {
        let name = &self.name;
        let server = self.administrator().await?;
        for statement in [
            format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"),
            format!("DROP ROLE IF EXISTS \"{name}\""),
        ] {
            server.batch_execute(&statement).await?;
        }
        Ok(())
    }

    async fn end_sessions(&self, server: &Client) -> anyhow::Result<()> {
        const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = $1 AND usename = $1";
        server.query(END, &[&self.name]).await?;
        Ok(())
    }

    async fn administrator(&self) -> anyhow::Result<Client> {
        self.connect(self.server.database).await
    }

    async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        let Postgres {
            address,
            user,
            password,
            ..
        } = &self.server;
        let (client, connection) = tokio_postgres::Config::new()
            .host(address.ip().to_string())
            .port(address.port())
            .user(*user)
            .password(password)
            .dbname(database)
            .connect(NoTls)
            .await
            .with_context(|| format!("cannot connect to PostgreSQL at {address}"))?;
        // Its error is that of the statement that waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}
