-- count returns the number that a text says, at most a million; 0 when it says none.
local function count(text)
  local digits = string.match(text or '', '^0*(%d+)$')
  if not digits then
    return 0
  end
  return #digits > 6 and 1000000 or tonumber(digits)
end

-- counts returns the attempts and crashes of a value in history, which may be absent.
local function counts(value)
  local attempts, crashes = string.match(value or '', '^(%S+) (%S+)')
  return count(attempts), count(crashes)
end

-- since returns when a living job became due again, in ms, and the trace of its attempt before, by its value in history;
-- '' for what that doesn't say. A dead one's value has its state in that place.
local function since(value)
  local due, trace = string.match(value or '', '^%S+ %S+ (%S+) ?(%S*)')
  if not due or #due > 16 or not string.match(due, '^[1-9]%d*$') then
    return '', ''
  end
  return due, #trace <= 55 and trace or ''
end

-- ended returns how a dead job ended, by its value in history: 'f', 'c', or '' when that isn't known.
local function ended(value)
  return string.match(value or '', '^%S+ %S+ ([fc])') or ''
end

-- look_up returns the values of ids in a hash; an empty table when the hash is absent, as rare ones mostly are.
local function look_up(hash, ids)
  if #ids == 0 or redis.call('EXISTS', hash) == 0 then
    return {}
  end
  return redis.call('HMGET', hash, unpack(ids))
end
