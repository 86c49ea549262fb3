-- next_token returns the first free fencing token: it exceeds the counter, least, and 250 a millisecond, so that tokens
-- never go back, also after the counter was lost. The caller keeps the last one it gives away in the counter.
local function next_token(counter, now, least)
  return math.max(tonumber(redis.call('GET', counter) or 0) + 1, now * 250, least + 1)
end
