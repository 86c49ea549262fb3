-- body: returns what a queue keeps of a job. It writes nothing. A script is not sent again by the client, as a plain read is.
-- KEYS[1] jobs
-- ARGV[1] id
-- Returns the encoded job, '' when there is none.
local jobs = KEYS[1]

return redis.call('HGET', jobs, ARGV[1]) or ''
