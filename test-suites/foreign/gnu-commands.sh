# Commands of bash, coreutils, acl, findutils, grep, sed, gawk, tar, gzip and procps as people use them in scripts. The output
# depends on nothing but the programs and the kernel's answers, so it must be the same on every Linux: what differs from boot
# to boot (process ids, times, sizes of memory) is taken out here, by the commands themselves.

step=0
step() { step=$((step + 1)); echo "-- $step: $*"; }
# Hides numbers that depend on the boot.
no_numbers() { sed -E 's/[0-9]+/N/g'; }

mkdir /tmp/work && cd /tmp/work || exit 1
umask 022

step 'echo, printf and quoting'
echo one "two  three" 'four\n' $'five\tsix'
printf '%s|%5d|%-6s|%05.2f|%x|%o|%c|%%\n' text 42 left 3.14159 255 8 z
printf '%q ' 'a b' "it's" '$x' ''; echo
printf '%b' 'tab\there\n'

step 'variables and expansions'
name=graft.tar.gz; path=/usr/lib/x/y.so.1
echo "${name%.gz} ${name%%.*} ${path##*/} ${path#/usr} ${#name} ${name/tar/zip} ${name^^} ${unset:-default} ${name:2:3}"
echo $((7 * 6)) $((2 ** 40)) $((17 % 5)) $((0xff)) $((8#17)) $((1 ? 2 : 3))
echo {a,b}{1..3} {10..2..4}

step 'arrays'
list=(zero one two); list+=(three); declare -A map=([k]=v [x]=y)
echo "${list[@]}" "${#list[@]}" "${list[-1]}" "${!list[@]}" "${list[@]:1:2}"
for key in k x; do echo "$key=${map[$key]}"; done
mapfile -t lines < <(seq 3); echo "${lines[@]/#/n}"

step 'functions, locals, recursion, return'
factorial() { local n=$1; if ((n < 2)); then echo 1; else echo $((n * $(factorial $((n - 1))))); fi; }
factorial 10
fails() { return 7; }; fails; echo "status $?"

step 'conditions'
[ 3 -lt 10 ] && [[ abc == a* ]] && [[ x1y =~ ^x([0-9])y$ ]] && echo "matched ${BASH_REMATCH[1]}"
case $name in *.zip) echo zip ;; *.gz | *.bz2) echo compressed ;; esac
if test -d . -a -w .; then echo 'a folder to write in'; fi
test -e nothing || echo 'nothing is not there'

step 'loops'
for ((i = 0; i < 3; i++)); do printf '%d ' $i; done; echo
i=0; while :; do ((++i > 4)) && break; ((i % 2)) && continue; printf '%d ' $i; done; echo
until [ "$i" -eq 0 ]; do i=$((i - 1)); done; echo "i=$i"
echo 'a:b:c' | while IFS=: read -r x y z; do echo "$z$y$x"; done

step 'pipes and their statuses'
seq 100 | grep 7 | wc -l
false | true | (exit 3); echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo "pipefail $?"; set +o pipefail
yes | head -n 2; echo "yes ended with ${PIPESTATUS[0]}"

step 'redirections'
echo first > out; echo second >> out; cat < out
{ echo to-out; echo to-err >&2; } > o 2> e; cat o e
ls /nowhere > both 2>&1; sed 's/^[^:]*: //' both
exec 5> five; echo through-5 >&5; exec 5>&-; cat five
exec 6< out; read -r a <&6; read -r b <&6; exec 6<&-; echo "$b $a"
(set -o noclobber; echo again > out) 2>/dev/null || echo 'noclobber kept out'
: > empty; wc -c < empty
cat 3<<<'here string' <&3

step 'here-documents'
who=world
cat <<END
hello $who $((1 + 1)) $(echo command)
END
cat <<'END'
hello $who
END
cat <<-END
	tabs go
	END

step 'subshells and groups'
x=outer; (x=inner; cd /; echo "$x $PWD"); echo "$x $PWD"
{ x=group; }; echo $x
echo "$(echo "$(echo nested)")"
(exit 42); echo $?
echo $BASH_SUBSHELL $(echo $BASH_SUBSHELL)

step 'process substitution'
diff=$(comm -3 <(seq 1 5) <(seq 3 7)); echo "$diff"
paste <(seq 3) <(seq 4 6)
seq 5 > >(sort -r > reversed); wait $!; cat reversed

step 'background jobs and wait'
sleep 0.2 & first=$!
(exit 9) & second=$!
wait $second; echo "second $?"
wait $first; echo "first $?"
for n in 3 1 2; do (sleep 0.$((n * 3)); echo "job $n") & done; wait; echo 'all done'
sleep 30 & kill $!; wait $! 2>/dev/null; echo "terminated $?"
bash -c '(sleep 0.1; exit 4) & wait -n; echo "wait -n $?"'

step 'job control in a script'
bash <<'END'
set -m
sleep 30 & jobs | tr -s ' '
kill -STOP %1; sleep 0.3; jobs | tr -s ' '
kill -CONT %1; sleep 0.3; jobs | tr -s ' '
kill %1; wait %1 2>/dev/null; echo "job $?"
(exit 8) & wait %%; echo "job $?"
END

step 'traps and signals'
(trap 'echo got TERM; exit 5' TERM; kill -TERM $BASHPID; echo not reached); echo "status $?"
(trap 'echo leaving' EXIT; exit 0)
(trap '' INT; kill -INT $BASHPID; echo survived INT)
(trap 'echo usr1' USR1; for n in 1 2; do kill -USR1 $BASHPID; done; echo end)
{ bash -c 'kill -KILL $$'; } 2>/dev/null; echo "killed $?"
{ bash -c 'kill -SEGV $$'; } 2>/dev/null; echo "segv $?"
(trap 'echo child ended' CHLD; set -m; /bin/true & wait; true)
kill -l 9 15; kill -0 $$ && echo 'we are alive'

step 'timeout, nice, nohup, env, time'
timeout 0.2 sleep 10; echo "timeout $?"
{ timeout -s KILL 0.2 sleep 10; } 2>/dev/null; echo "timeout -s KILL $?"
timeout 5 true; echo "in time $?"
nice -n 5 nice
nohup echo immune 2>/dev/null
env -i A=1 B=2 env | sort
env -u HOME bash -c 'echo "${HOME-unset}"'
TIMEFORMAT='took %0R s'; time sleep 0.05

step 'limits and umask'
(ulimit -n 64; ulimit -n)
{ (ulimit -f 1; head -c 4096 /dev/zero > limited); } 2>/dev/null; echo "status $?"; stat -c %s limited
(ulimit -c 0; ulimit -S -c)
umask 077; touch secret; stat -c %a secret; umask 022; umask -S

step 'files: create, copy, move, remove'
mkdir -p d/e/f; touch d/e/f/g; echo content > d/file; ln d/file d/hard; ln -s file d/soft; ln -s nowhere d/dangling
cp -a d copy; ls -1R copy
stat -c '%N %F %h %a' copy/*
mv copy moved; mv -n d/file moved/e; test -e moved/e/file && echo moved
cp d/hard d/new; cmp d/hard d/new && echo equal
rm d/soft d/dangling; rmdir d/e 2>&1 | sed 's/.*: //'; rm -r moved; ls d
install -m 640 -D d/hard deep/down/installed; stat -c '%a %n' deep/down/installed
truncate -s 1M sparse; stat -c '%s %b' sparse

step 'links'
readlink -f d/e/../hard; realpath --relative-to=d/e d/hard
ln -s loop2 loop1; ln -s loop1 loop2; cat loop1 2>&1 | sed 's/.*: //'
stat -c %h d/hard; rm d/new; ln -sf d/hard link; cat link; readlink link

step 'modes and owners'
chmod 4755 d/hard; ls -l d/hard | cut -c1-10; chmod u-s,g+w,o= d/hard; stat -c '%A %a' d/hard
chown 1000:2000 d/hard; stat -c '%u:%g' d/hard; chown --reference=d d/hard; stat -c '%u:%g' d/hard
chmod 1777 d; stat -c %A d; chmod 755 d; mkdir -m 2770 setgid; touch setgid/x; stat -c '%A' setgid

step 'times'
touch -d '2020-02-29 12:34:56' stamp; stat -c '%y' stamp; date -r stamp +%s
touch -d '2001-01-01' old; [ stamp -nt old ] && echo newer; [ old -ot stamp ] && echo older; [ stamp -ef stamp ] && echo same
touch -r old stamp; find . -maxdepth 1 -newer old -name 'stamp'; stat -c %Y stamp
date -d '2024-02-28 + 2 days' +%F; date -d @86400 '+%Y-%m-%d %H:%M:%S %a %j'; date -d '1 Jan 2000 UTC' +%s

step 'find'
mkdir -p tree/{a,b}/{c,d}; touch tree/a/c/{one,two}.txt tree/b/d/three.log; echo data > tree/b/full
find tree | sort
find tree -type f -name '*.txt' | sort
find tree -type f -size +0 -exec cat {} \;
find tree -type f -exec basename -a {} + | sort
find tree -depth -type d -empty -print -delete | sort
find tree -type f -printf '%P %s %m\n' | sort
find tree -name '*.log' -o -name full | sort
find tree -perm -644 -type f ! -name '*.txt' | wc -l
find /proc/self/ -maxdepth 1 -name stat\* | sort

step 'xargs'
seq 10 | xargs -n 4 echo
printf 'a b\0c\0' | xargs -0 -I{} echo '<{}>'
seq 6 | xargs -P 3 -n 1 sh -c 'echo $0' | sort -n | tr '\n' ' '; echo
echo x | xargs false; echo "xargs $?"

step 'sort, uniq, cut, tr, paste, join, comm'
printf '%s\n' pear apple fig apple > fruit
sort fruit | uniq -c | sort -k1,1nr -k2 | sed 's/^ *//'
printf '10 b\n9 a\n100 c\n' | sort -n; printf '10 b\n9 a\n' | sort -k2
printf 'v1.10\nv1.9\n' | sort -V; sort -u fruit | tr 'a-z' 'A-Z' | paste -sd,
cut -d: -f1,3 /etc/passwd; echo abcdef | cut -c2-4; echo 'a  b' | tr -s ' ' '_'; echo hello | tr -d l
printf '1 a\n2 b\n' > left; printf '1 x\n3 y\n' > right; join left right; join -a1 -a2 -e- -o0,1.2,2.2 left right
comm <(sort -u fruit) <(printf 'apple\nkiwi\n'); echo 'over a large file:'; seq 5000 | shuf --random-source=/bin/bash | sort -n | md5sum

step 'head, tail, split, wc, nl, fold, tac, rev'
seq 1000 > numbers; head -n 2 numbers; tail -n 2 numbers; head -c 5 numbers | od -An -c; tail -c +3880 numbers
split -l 300 numbers part.; wc -l part.*; cat part.* | cmp - numbers && echo whole
split -n 3 -d numbers third.; stat -c '%n %s' third.*
nl -ba -w3 fruit; seq 3 | tac; echo 'a long line to fold' | fold -sw 8; wc numbers; expand -t4 <<<$'a\tb'; echo 1 2 | rev 2>/dev/null || true
tee copy1 copy2 <fruit | wc -l; cmp copy1 copy2 && echo 'tee wrote both'

step 'od, base64, sums, dd'
printf 'Graft\0\377' | od -An -tx1z; echo text | base64; echo dGV4dAo= | base64 -d
sha256sum numbers; md5sum fruit | tee sums; md5sum -c sums; cksum fruit; sha1sum < /dev/null
dd if=numbers of=block bs=100 skip=2 count=3 2>/dev/null; wc -c block; head -n 2 block
dd if=/dev/zero of=sparse2 bs=1 count=1 seek=1048575 2>/dev/null; stat -c %s sparse2; cmp sparse sparse2 && echo 'both are zeroes'
dd if=numbers bs=1k count=1 conv=ucase,swab 2>/dev/null | md5sum; dd if=/dev/full of=/dev/full count=1 2>&1 | grep -c 'No space'

step 'grep'
grep -n 'a' fruit; grep -c p fruit; grep -v apple fruit; grep -o 'p\+' fruit | sort | uniq -c | tr -s ' '
grep -rl data tree; grep -E '^(pe|fi)' fruit; grep -i APPLE fruit | head -1; grep -q kiwi fruit || echo 'no kiwi'
grep -A1 -B1 '^500$' numbers; echo 'a1b22' | grep -oP '\d+(?=$)'; grep -x fig fruit; grep -w 77 numbers

step 'sed'
sed -n '2,3p;$=' fruit; sed 's/\(a\)\(p\)/\2\1/g' fruit; sed -e '/fig/d' -e '1i\top' -e '$a\bottom' fruit
sed -i.bak 's/pear/plum/' fruit; cat fruit; diff fruit fruit.bak | head -1; sed -E ':a;s/^([0-9]+)([0-9]{3})/\1,\2/;ta' <<<1234567
sed '/apple/!s/$/ !/;y/abc/xyz/' fruit; seq 6 | sed -n 'n;p'; seq 4 | sed 'N;s/\n/+/'; printf 'a\nb\n' | sed 'G;h' | tail -3

step 'gawk'
gawk '{s += $1} END {print s, NR}' numbers; gawk -F: '{print $1 "->" $NF}' /etc/passwd
gawk 'BEGIN {while ((getline line < "fruit") > 0) n[line]++; for (k in n) print n[k], k | "sort"; close("sort"); printf "%.3f %s %d\n", atan2(0,-1), toupper("x"), length("four")}'
gawk 'match($0, /(.)\1/, m) {print}; {gsub(/a/, "A")} 1' fruit; echo 'a,b;c' | gawk '{n = split($0, p, /[,;]/); print n, p[3]}'
gawk 'BEGIN {"echo from-command" | getline x; print x; print strftime("%Y", 0, 1); print substr("hello", 2, 3), index("abc", "c")}'
gawk 'BEGIN {PROCINFO["sorted_in"] = "@ind_num_asc"; for (i = 5; i > 0; i--) a[i] = i * i; for (i in a) printf "%s ", a[i]; print ""; print asorti(a, b), b[1]}'
gawk 'BEGIN {cmd = "sort -r"; print "a" |& cmd; print "b" |& cmd; close(cmd, "to"); while ((cmd |& getline l) > 0) print l}'

step 'tar and gzip'
tar cf t.tar tree fruit; tar tf t.tar | sort; mkdir x; tar xf t.tar -C x; diff -r tree x/tree && echo 'the tree came back'
tar czf t.tgz --sort=name --mtime=@0 --owner=0 --group=0 d tree; tar xzOf t.tgz tree/b/full; gzip -l t.tgz | wc -l
gzip -kn numbers; gzip -t numbers.gz && gzip -dc numbers.gz | cmp - numbers && stat -c %s numbers.gz; zcat numbers.gz | tail -1; zgrep -c 9 numbers.gz
gunzip -c < numbers.gz | md5sum; head -c 1000 numbers.gz > cut.gz; gzip -t cut.gz 2>&1 | sed 's/.*: //'; tar cf - tree | tar xf - -C x && echo 'through a pipe'
tar --exclude='*.txt' -cf - tree | tar tf - | sort; tar rf t.tar d; tar df t.tar && echo 'no difference'

step 'mktemp, mkfifo, flock-free waiting'
t=$(mktemp); stat -c '%a %s %F' "$t"; rm "$t"; t=$(mktemp -d -p .); stat -c %a "$t"; rmdir "$t"
mkfifo pipe; stat -c %F pipe; (echo through the pipe > pipe) & cat pipe; wait
(for n in 1 2 3; do echo $n; done > pipe) & while read -r n; do echo "read $n"; done < pipe; wait
coproc UPPER { tr a-z A-Z; }; echo coprocess >&"${UPPER[1]}"; exec {UPPER[1]}>&-; cat <&"${UPPER[0]}"; wait

step 'ps, pgrep, pkill, and what procps tells of the system'
sleep 77 & victim=$!
ps -o comm=,stat= -p $victim | tr -s ' '; ps -o ppid= -p $victim | tr -d ' ' | grep -qx $$ && echo 'its parent is this shell'
pgrep -x sleep | grep -qx $victim && echo found; pgrep -a -f 'sleep 77' | no_numbers
pkill -f 'sleep 77'; wait $victim 2>/dev/null; echo "pkill: $?"; pgrep -x sleep || echo 'none left'
ps -e -o pid=,comm= | gawk '$1 == 1 {print}' | tr -s ' '; ps --no-headers -o args -p $$
free | no_numbers | tr -s ' ' | head -2; uptime -p | no_numbers > /dev/null && echo 'uptime works'
cat /proc/sys/kernel/ostype; sysctl -n kernel.hostname | wc -l; pwdx $$ | sed 's/^[0-9]*//'
w -h | wc -l; vmstat | head -1 | cut -c1-5; pmap $$ 2>/dev/null | tail -1 | no_numbers | tr -s ' '

step '/proc through plain tools'
tr '\0' ' ' < /proc/self/cmdline; echo; readlink /proc/self/exe; cat /proc/self/comm; grep -c . /proc/self/maps | no_numbers
(cd /tmp/work/d && readlink /proc/self/cwd); gawk '/^(Name|State|Uid|Threads)/ {print $1, $2, $3}' /proc/self/status
ls /proc/self/fd | head -3; env -i X=1 cat /proc/self/environ | tr '\0' '\n'; cut -d' ' -f2 /proc/self/stat; head -1 /proc/mounts | cut -d' ' -f2
grep -w -e '/tmp' -e '/proc' /proc/self/mounts | cut -d' ' -f1-3 | sort; echo /proc/$$/task/* | no_numbers; head -c 9 /proc/meminfo; echo

step 'setfacl, getfacl, and who keeps access lists'
mkdir lists && cd lists && echo text > file && chmod 600 file; setfacl -m u:1000:rw,g:1001:r file; getfacl file; ls -l file | cut -c1-11
chroot --userspec=1000:1000 / cat "$PWD/file"; chroot --userspec=1002:1001 / cat "$PWD/file"; chroot --userspec=1002:1002 / cat "$PWD/file" 2>&1 | sed 's/.*: //'
chmod g=r file; getfacl -c file; chroot --userspec=1000:1000 / dash -c "echo more >> $PWD/file" 2>&1 | sed 's/.*: //'; setfacl -x g:1001 file; setfacl -m m::rwx file; getfacl -cn file
mkdir tree; setfacl -d -m u:1000:rwx,o::--- tree; setfacl -m u:1000:x tree; (umask 077; touch tree/new; mkdir tree/dir; echo '#!/bin/bash' > tree/dir/script); getfacl -R tree
cp -a tree copy; cp -p file kept; cp file plain; getfacl -cn kept plain; diff <(getfacl -cR tree) <(getfacl -cR copy) && echo 'cp -a keeps them'; cp -r tree again; getfacl -cn again/dir
tar --acls -cf lists.tar file tree; mkdir out; tar --acls -xpf lists.tar -C out; diff <(find file tree | sort | getfacl -) <(cd out; find file tree | sort | getfacl -) && echo 'tar keeps them'
mkdir other; mount -t tmpfs other other; mv file other/; getfacl -cn other/file; grep ' /tmp/work/lists/other ' /proc/mounts | cut -d' ' -f1,3; cp -a other/file .; umount other; getfacl -R . > saved; setfacl -R -b .; getfacl -cR tree/dir; setfacl --restore=saved; getfacl -R . | diff - saved | wc -l
setfacl -m u:1000:r /proc/version 2>&1; getfacl -c /proc/version 2>&1; setfacl -d -m u:1000:r file 2>&1; ln -s file link; setfacl -m g:7:w link; getfacl -c file; chroot --userspec=1002:1002 / setfacl -m u:1002:rw "$PWD/file" 2>&1 | sed 's/.*: //'
setfacl -k tree; getfacl -c tree; setfacl -b file; getfacl -cs file; ls -l file | cut -c1-11; cd ..

step 'devices'
head -c 4 /dev/zero | od -An -tx1; echo gone > /dev/null; head -c 16 /dev/urandom | wc -c; echo x > /dev/full; echo "full $?"
stat -c '%F %t:%T' /dev/null /dev/zero; cat /dev/null | wc -c; tty < /dev/null; [ -c /dev/console ] && echo console

step 'the rest of coreutils'
seq -s, 1 3 10; seq -w 8 10; expr 3 \* 4; expr abc : 'a\(.*\)'; factor 360; numfmt --to=iec 1048576; basename /a/b.c .c; dirname /a/b.c
id -u; id -un; groups; whoami; uname -s -m; nproc | no_numbers; echo $(arch) $(hostname -s 2>/dev/null | no_numbers | wc -l); logname 2>/dev/null || echo 'no login'
test "$(printenv HOME)" = /root && echo home; true && ! false && echo logic; tsort <<<'a b b c' | tr '\n' ' '; echo; ptx -r <<<'x y' | wc -l; pr -t -2 -l 2 <(seq 4) | tr -s ' \t' ' '
df --output=target /tmp | tail -1; du -s --apparent-size d > /dev/null && echo du; stat -f -c %T /tmp /proc; sync && echo synced; shred -u -n 1 block && test ! -e block && echo shredded
echo 'x' | csplit - 1 >/dev/null && ls xx*; unlink xx00; link fruit fruit2 && stat -c %h fruit; pathchk -p a/b && echo portable; dircolors -b | wc -l | no_numbers; b2sum < /dev/null | cut -c1-16

step 'scripts and exec'
cat > script <<'END'
#!/bin/bash
echo "$0 got $# arguments: $*"; exit 3
END
chmod +x script; ./script a 'b c'; echo "status $?"
printf '#!/bin/sed -f\ns/x/y/\n' > sedscript; chmod +x sedscript; echo axb | ./sedscript
echo 'echo no interpreter line' > plain; chmod +x plain; ./plain; chmod -x plain; ./plain 2>&1 | sed 's/.*: //'
printf '#!/no/such/interpreter\n' > broken; chmod +x broken; ./broken 2>/dev/null; echo "status $?"; ./missing 2>/dev/null; echo "status $?"
head -c 100 /bin/bash > truncated; chmod +x truncated; ./truncated 2>/dev/null; echo "status $?"; bash -c 'exec -a other-name bash -c "echo \$0"'
dash -c 'echo dash; x=1; [ $x = 1 ] && echo one'; eval 'echo evaluated'; source ./plain; (exec true; echo not reached); command -v ls; type -t cd

step 'errors have their numbers'
mkdir d 2>&1 | sed 's/.*: //'; rmdir tree 2>&1 | sed 's/.*: //'; cat d 2>&1 | sed 's/.*: //'; cd nowhere 2>&1 | sed 's/.*: //'; mv d d/e 2>&1 | sed 's/.*: //'
ln d dirlink 2>&1 | sed 's/.*: //'; touch fruit/x 2>&1 | sed 's/.*: //'; touch "$(printf '%0300d' 0)" 2>&1 | sed 's/.*: //'; rm d 2>&1 | sed 's/.*: //'; cp d e2 2>&1 | sed 's/.*; //'
echo x > /proc/version 2>/dev/null || echo 'version is not to be written'; mkdir /proc/x 2>&1 | sed 's/.*: //'; kill -0 999999 2>&1 | sed 's/.*) - //'; ls /proc/999999 2>&1 | sed 's/.*: //'

step 'many of a kind'
for n in $(seq 200); do echo $n > many.$n; done; ls many.* | wc -l; cat many.* | sort -n | tail -1; rm many.*; ls many.* 2>/dev/null | wc -l
for n in $(seq 60); do /bin/true || echo failed; done; echo 'sixty processes'; head -c 1000000 /dev/zero | tr '\0' x | wc -c; head -c 2M /dev/zero | sha256sum
seq 20000 | gawk '{x += $1 % 7} END {print x}'; x=; for n in $(seq 2000); do x+=$n; done; echo ${#x}; printf '%s\n' {1..3000} | sort -R --random-source=/bin/bash | sort -n | cmp - <(seq 3000) && echo sorted

cd / && rm -r /tmp/work && ls /tmp | wc -l
echo "all $step steps were taken"
