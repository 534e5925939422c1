-- Records that came and are none of the entity's, by reason, as in {"skipped_no_identifier": 416}.
ALTER TABLE keepstep.run_entities ADD COLUMN skipped jsonb NOT NULL DEFAULT '{}';
