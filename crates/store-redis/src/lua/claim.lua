-- Claims tasks: those that wait long enough, those whose delay is over, those whose owner did not renew them.
-- KEYS: worker, claims, delayed, epoch, watermark, dead. ARGV: me, most, debounce, lease (milliseconds).
-- Returns id, stream, attempt, epoch of each.
local worker, claims, delayed, epoch_key, watermark, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local me, most, debounce, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local us = now_us()
local now = math.floor(us / 1000)

for _, task in ipairs(deliver(worker, 1000)) do
  -- Its age counts from when it was enqueued. A time that is yet to come counts as now.
  redis.call('XCLAIM', worker, worker, 'pending', 0, task[1], 'TIME', (split(task[1])), 'JUSTID')
end

-- Where time went back, what was delivered before seems to be of the future and would wait until time has caught up. All
-- of it may be claimed at once; who works on something then finds that it has lost it.
local seen = tonumber(redis.call('GET', watermark) or '0')
if seen == 0 then
  -- Nobody has claimed anything yet: the newest task says what time it was.
  local newest = redis.call('XREVRANGE', worker, '+', '-', 'COUNT', 1)[1]
  if newest then seen = tonumber((split(newest[1]))) end
end
if seen - now > 1000 then
  local from = '-'
  while true do
    local page = redis.call('XPENDING', worker, worker, from, '+', 1000)
    for _, task in ipairs(page) do
      redis.call('XCLAIM', worker, worker, task[2], 0, task[1], 'TIME', 0, 'JUSTID')
    end
    if #page < 1000 then break end
    from = '(' .. page[#page][1]
  end
end
redis.call('SET', watermark, text(now))

local claimed = {}
local epoch = tonumber(redis.call('GET', epoch_key) or '0')
local idle, from, pages = math.min(debounce, lease), '-', 0
while #claimed < most and pages < 100 do
  local page = redis.call('XPENDING', worker, worker, 'IDLE', text(idle), from, '+', 200)
  pages = pages + 1
  for _, task in ipairs(page) do
    if #claimed >= most then break end
    local id, owner, age, delivered = task[1], task[2], task[3], task[4]
    local is_due
    if owner == 'pending' then
      is_due = age >= debounce
    elseif owner == 'delayed' then
      local due = tonumber(redis.call('ZSCORE', delayed, id) or '0')
      -- No delay is longer than an hour: one that is was set before time went back.
      is_due = due <= now or due - now > 3600000
    else
      is_due = age >= lease
    end
    if is_due then
      local found = redis.call('XCLAIM', worker, worker, me, 0, id)[1]
      if found and found[2] then
        local stream = nil
        for at = 1, #found[2], 2 do
          if found[2][at] == 'compact' then stream = found[2][at + 1] end
        end
        if stream then
          -- Never below the time: should this store lose its own, the fences elsewhere still let claims pass.
          epoch = math.max(epoch + 1, us)
          redis.call('HSET', claims, id, text(epoch))
          redis.call('ZREM', delayed, id)
          claimed[#claimed + 1] = { id, stream, delivered, text(epoch) }
        else
          redis.call('XADD', dead, 'MAXLEN', '~', 10000, '*', 'task', id, unpack(found[2]))
          drop_task(worker, claims, delayed, id)
          claimed[#claimed + 1] = { id, '', delivered, '0' }
        end
      end
    end
  end
  if #page < 200 then break end
  from = '(' .. page[#page][1]
end
redis.call('SET', epoch_key, text(epoch))
return claimed
