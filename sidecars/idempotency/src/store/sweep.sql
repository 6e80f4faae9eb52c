-- Deletes a batch of expired entries; those that another session is replacing stay.
DELETE FROM outrigger_entries
WHERE id IN (
    SELECT id FROM outrigger_entries
    WHERE expires_at <= now()
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
