-- Takes off a task whose room is not live or paused, or that is not the first of its room; gives one back to the pending
-- list that fell out of it. KEYS: stream, worker, claims, delayed, paused. ARGV: id. Returns 1 if it was taken off.
local stream, worker, claims, delayed, paused, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1]
local first = each_task(worker, function(other, fields)
  if fields[1] == 'compact' and fields[2] == stream then return other end
end)
if first ~= id or redis.call('EXISTS', stream) == 0 or redis.call('SISMEMBER', paused, stream) == 1 then
  if drop_task(worker, claims, delayed, id) then return 1 end
  return 0
end
deliver(worker, 1000)
if not owner_of(worker, id) then
  redis.call('XCLAIM', worker, worker, 'pending', 0, id, 'TIME', (split(id)), 'FORCE', 'JUSTID')
end
return 0
