-- tally: adds what a worker has settled to the counts of this minute. They are kept for an hour.
-- Includes: now
-- KEYS[1] rates
-- ARGV[1] jobs that succeeded
-- ARGV[2] attempts that are tried again
-- ARGV[3] jobs that failed
-- ARGV[4] jobs that were canceled
-- Returns the minute, since 1970.
local rates = KEYS[1]

redis.call('HDEL', rates, '')
local minute = math.floor(now_ms() / 60000)
local fresh = false
local function add(kind, n)
  if n ~= '0' then
    fresh = redis.call('HINCRBY', rates, string.format('%.0f', minute) .. kind, n) == tonumber(n) or fresh
  end
end
add('s', ARGV[1])
add('r', ARGV[2])
add('f', ARGV[3])
add('c', ARGV[4])
if fresh then -- so the minute may be
  for _, field in ipairs(redis.call('HKEYS', rates)) do
    local of = tonumber(string.match(field, '^(%d+)[srfc]$'))
    if not of or of <= minute - 60 or of > minute + 60 then
      redis.call('HDEL', rates, field)
    end
  end
  redis.call('PEXPIRE', rates, 3660000)
end
return minute
