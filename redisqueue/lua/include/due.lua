-- due_at returns when a job is due, in ms, by an argument that says so: '' now, '+ms' from now, 'ms' at that time.
local function due_at(due, now)
  if due == '' then
    return now
  end
  return tonumber(due) + (string.sub(due, 1, 1) == '+' and now or 0)
end
