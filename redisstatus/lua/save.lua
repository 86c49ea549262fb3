-- save: replaces rows by statuses that move their jobs forward, as worker.Status.Supersedes tells.
-- KEYS[1…] the row of each status
-- ARGV[1] how long the row of a finished job lives, in ms
-- ARGV[2] how long any other row lives, in ms
-- ARGV[3] 1 when the statuses are to be taken though memory is out, else 0
-- ARGV[4…] four for each status: its head, which is 19 digits of version, a space, 15 digits of token, a space, the state,
--   a space and its job's queue and type; 1 if it opens a round, else 0; the status; the encoded job, or '' to leave it
-- Returns for each status a number when it is stored: 0, and 1 more if it was before, and 2 more if its row lacks the
--   encoded job. Else {state, row} of what is, {'conflict', head of the row} when the row is another job's, or
--   {'error', text} when the key is of another type.
local finished_ttl = ARGV[1]
local unfinished_ttl = ARGV[2]

if ARGV[3] == '1' then
  local first = KEYS[1]
  redis.pcall('HDEL', first, '') -- lets the rest through when memory is out
end

local final = {succeeded = true, failed = true, canceled = true}
local no_token = string.rep('0', 15)

-- parse reads a head. What isn't one, since somebody else wrote it, is nil.
local function parse(head)
  local version, token, state, job = string.match(head, '^(%d+) (%d+) (%a+) (.*)$')
  if version and #version == 19 and #token == 15 then
    return {version = version, token = token, state = state, job = job}
  end
end

local function supersedes(new, opens, row)
  if row.state == 'succeeded' then
    return false
  end
  if final[row.state] and row.token == no_token then
    return opens or new.version > row.version
  end
  if final[row.state] then
    return opens and new.token > row.token
  end
  if opens and new.token > no_token then
    return false
  end
  return new.version > row.version
end

local function store(row, new, head, status, job)
  if new.state == 'succeeded' then
    redis.call('HDEL', row, 'job')
  end
  if job == '' then
    redis.call('HSET', row, 'head', head, 'status', status)
  else
    redis.call('HSET', row, 'head', head, 'status', status, 'job', job)
  end
  redis.call('PEXPIRE', row, final[new.state] and finished_ttl or unfinished_ttl)
end

-- stored is the answer for a status that the row holds.
local function stored(row, state, before)
  local lacks = state ~= 'succeeded' and redis.call('HEXISTS', row, 'job') == 0
  return (before and 1 or 0) + (lacks and 2 or 0)
end

local answers = {}
for i = 1, #KEYS do
  local row = KEYS[i]
  local at = 4 * i
  local head = ARGV[at]
  local held = redis.pcall('HGET', row, 'head')
  local new = parse(head)
  local old = held and not held.err and parse(held) -- garbage is replaced as if there were no row
  if held and held.err then
    answers[i] = {'error', held.err}
  elseif old and old.version == new.version then
    answers[i] = old.job == new.job and stored(row, old.state, true) or {'conflict', held}
  elseif old and not supersedes(new, ARGV[at + 1] == '1', old) then
    answers[i] = {old.state, redis.call('HGET', row, 'status') or ''}
  else
    store(row, new, head, ARGV[at + 2], ARGV[at + 3])
    answers[i] = stored(row, new.state, false)
  end
end
return answers
