-- What has been applied; made before the first migration, and never changed.
CREATE TABLE IF NOT EXISTS schema_version (
  version    int  NOT NULL,
  name       text NOT NULL,
  checksum   text NOT NULL,  -- XXH3 of the file
  applied_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT schema_version_pk PRIMARY KEY (version)
);
