-- rows appends {id, number, body, history, mark} of each id that has a body to a reply, and returns how many ids it got
-- through: all, unless the bodies grow beyond 4 MiB. The number is numbers[i], '' when there are none; history and mark
-- are '' where there is none. Ids for which skip is true are left out.
local function rows(reply, ids, numbers, jobs, history, cancels, skip)
  local histories, marks = look_up(history, ids), look_up(cancels, ids)
  local bytes = 0
  for i, id in ipairs(ids) do
    local body = not skip[id] and redis.call('HGET', jobs, id)
    if body then
      if bytes > 0 and bytes + #body > 4194304 then
        return i - 1
      end
      bytes = bytes + #body
      for _, value in ipairs({id, numbers[i] or '', body, histories[i] or '', marks[i] or ''}) do
        reply[#reply + 1] = value
      end
    end
  end
  return #ids
end
