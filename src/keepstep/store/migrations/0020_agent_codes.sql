-- Every agent has an address of its own in the API. What is on the list already stays; it can be removed by SQL.

ALTER TABLE keepstep.agents ADD CONSTRAINT agents_code_has_an_address
    CHECK (code NOT IN ('.', '..') AND code NOT LIKE '%/credentials' AND code !~ '[[:cntrl:]]') NOT VALID;
