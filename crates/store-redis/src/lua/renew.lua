-- Renews tasks that are still mine under their epochs. KEYS: worker, claims. ARGV: me, then id and epoch of each.
-- Returns the ids of those that are.
local worker, claims, me = KEYS[1], KEYS[2], ARGV[1]
local renewed = {}
for at = 2, #ARGV, 2 do
  local id, epoch = ARGV[at], ARGV[at + 1]
  if owner_of(worker, id) == me and redis.call('HGET', claims, id) == epoch then
    local claimed = redis.call('XCLAIM', worker, worker, me, 0, id, 'JUSTID')
    if claimed[1] then renewed[#renewed + 1] = id end
  end
end
return renewed
