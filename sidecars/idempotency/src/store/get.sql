-- The entry with an index, within its scope and before its end.
SELECT entry::text AS entry
FROM outrigger_entries
WHERE id = $1 AND namespace = $2 AND application = $3 AND function = $4
    AND (expires_at IS NULL OR expires_at > now())
