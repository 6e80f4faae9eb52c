-- Stores an entry unless its key is taken, in one round trip: one row with request null if it was
-- stored, one row of the entry that holds the key, or none if that entry was committed by another
-- session after this statement began. The next statement sees it.
WITH known AS (
    SELECT id, key, entry::text AS entry, request
    FROM outrigger_entries
    WHERE namespace = $1 AND application = $2 AND function = $3 AND key_digest = $4
        AND (expires_at IS NULL OR expires_at > now())
), stored AS (
    INSERT INTO outrigger_entries AS e
        (namespace, application, function, key_digest, key, entry, request, expires_at)
    SELECT $1, $2, $3, $4, $5::text, $6::text::json, $7::uuid, now() + $8::float8 * interval '1 second'
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (namespace, application, function, key_digest) DO UPDATE
        SET id = EXCLUDED.id, key = EXCLUDED.key, entry = EXCLUDED.entry, request = EXCLUDED.request,
            stored_at = EXCLUDED.stored_at, expires_at = EXCLUDED.expires_at
        WHERE e.expires_at <= now()
    RETURNING id
)
SELECT id, NULL::text AS key, NULL::text AS entry, NULL::uuid AS request FROM stored
UNION ALL
SELECT id, key, entry, request FROM known
