-- Looks at counters, or forgets them: one, or those of a part of the server's keys.
--
-- KEYS[1]  the counter; where a part is meant, how the names of the group's counters begin: the script runs where the group is.
-- ARGV     `list` or `forget`; whether a part is meant (1). Of a part: the cursor of SCAN ('0' at first); how many keys to look at;
--          the pattern of the group's names; what the rest of a name is where a key has no values, and how it begins where it has
--          some; whether counters of which only the digest of the name is known may be meant too (1).
-- returns  the cursor to go on with ('0': this was all); microseconds of this server's clock, as text; how many counters with such
--          digests there were; then of `list` name and value of each counter in turn, of `forget` how many there were.

local what, part = ARGV[1], ARGV[2] == '1'
local cursor, names, unnamed = '0', KEYS, 0
if part then
  local stem, bare, beginning, digests = KEYS[1], ARGV[6], ARGV[7], ARGV[8] == '1'
  local scanned = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[5], 'COUNT', ARGV[4])
  cursor, names = scanned[1], {}
  for _, name in ipairs(scanned[2]) do
    local rest = string.sub(name, #stem + 1)
    if rest == bare or string.sub(rest, 1, #beginning) == beginning then
      names[#names + 1] = name
    elseif digests and string.sub(rest, 1, 1) == '#' then
      unnamed = unnamed + 1
    end
  end
end

local time = redis.call('TIME')
local answer = { cursor, string.format('%.0f', time[1] * 1000000 + time[2]), unnamed }
if what == 'forget' then
  answer[4] = 0
  for _, name in ipairs(names) do answer[4] = answer[4] + redis.call('DEL', name) end
  return answer
end
for _, name in ipairs(names) do
  local value = redis.call('GET', name)
  if value then
    answer[#answer + 1] = name
    answer[#answer + 1] = value
  end
end
return answer
