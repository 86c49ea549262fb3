-- next_token returns a free fencing token: it exceeds the counter and least, and is at least 250 a millisecond and the
-- offset in this one, so that tokens never go back, also after the counter was lost. A counter or least that is no number,
-- or lies more than a year ahead, is ignored: it would end all claims. The caller keeps the last token it gives away in the
-- counter.
local function next_token(counter, now, least, offset)
  local most = (now + 31536000000) * 250
  local function sane(text)
    local token = whole(text)
    return token <= most and token or 0
  end
  return math.max(sane(redis.call('GET', counter)) + 1, now * 250 + offset, sane(least) + 1)
end
