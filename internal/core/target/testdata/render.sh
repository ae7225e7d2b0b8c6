{ s_id=0123456789ab-0-1 s_n=0123456789abcdef s_mode=run s_rs='' s_oo=5 s_oe=7 s_limit=2 s_timeout=90 s_in=in s_tty= s_pty= s_par=$PPID s_do=exec s_via= s_p='' s_pre=/etc/sluice/pre.d s_post='/etc/it'\''s/post.d'
s_env() {
export SLUICE_PHASE="$1" SLUICE_MARK=0123456789ab-0-1.
export A=''
export B='$(id)
'\''x'\'''
}
s_main() {
s_step command sh -c 'echo '\''a'\'' $b' sh "$s_here"/blob
}
case $s_id in ?*) ;; *) exit 97 ;; esac
case $KSH_VERSION in
'') s_w() { printf %s "$1"; } && s_ign= ;;
*MIRBSD*)
s_w() { print -rn -- "$1"; } && s_ign=
exec 6<&0
exec 6<&-
;;
*) s_w() { printf %s "$1"; } && s_ign=: ;;
esac
s_nl='
'
s_frame() { s_w "$s_rs$s_n $1$s_nl"; }
s_fail() {
if [ -d "$s_cg" ]; then rmdir "$s_cg"; fi
s_frame "fail ${1%%$s_nl*}"
exit 0
}
s_who() {
s_uid= s_um=
while read -r s_k s_a s_v s_x; do
case $s_k in
Umask:) s_um=$s_a ;;
Uid:) s_uid=$s_v && break ;;
esac
done 2>/dev/null </proc/self/status
case $s_uid in '') s_uid=$(id -u) ;; esac
case $s_um in '') s_um=$(umask) ;; esac
umask 077
case $s_p in '')
case $s_uid in
0) s_p=/var/lib/sluice ;;
*) s_p=/var/tmp/sluice-$s_uid ;;
esac
;;
esac
s_epoch=
read -r s_epoch 2>/dev/null </proc/sys/kernel/random/boot_id
if read -r s_k 2>/dev/null </proc/1/stat; then
set -- ${s_k##*') '}
s_epoch=$s_epoch.${20}
fi
}
s_group() {
s_cg=
case $s_uid in 0) ;; *) return ;; esac
for s_k in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/freezer; do
if [ -w $s_k/cgroup.procs ] && [ -w $s_k ]; then
s_cg=$s_k/sluice-$s_id.$$
return
fi
done
}
s_owned() {
cd -P -- "$s_p" 2>/dev/null || return 1
[ -O . ] || s_fail "place $s_p belongs to another user"
case $1 in new) return ;; esac
s_e=$(ls -ld . 2>&1)
case $s_e in
drwx------*) ;;
*) s_fail "place $s_p must be a directory of mode 0700, it is ${s_e%% *}" ;;
esac
}
s_make() {
s_e=$(mkdir "$@" 2>&1) && s_new=1 && return
case $s_e in
*"/$s_id"*) ;;
*"$s_p"* | *"/sluice-$s_id."*) if [ -d "$s_p/$s_id" ]; then s_new=1; fi ;;
esac
}
s_enter() {
s_i=0
while :; do
cd /
s_new= s_mk=$s_cg
if [ -d "$s_cg" ]; then s_mk=; fi
if [ -L "$s_p" ]; then s_fail "place $s_p is a symbolic link"; fi
if [ -d "$s_p" ]; then
s_owned old || continue
s_make "./$s_id" $s_mk
else
s_make "$s_p" "$s_p/$s_id" $s_mk
s_owned new
fi
if [ -L "$s_id" ]; then s_fail "place $s_p/$s_id is a symbolic link"; fi
if [ -d "$s_p/$s_id" ] && cd -P -- "$s_p/$s_id" 2>/dev/null; then
s_here=$s_p/$s_id
return
fi
s_i=$((s_i + 1))
if [ $s_i -gt 9 ]; then s_fail "place $s_e"; fi
done
}
s_take() {
set -C
{ echo "$1" >gate; } 2>/dev/null
s_k=$?
set +C
return $s_k
}
s_remove() {
cd -P -- "$s_p" || return
rm -rf -- "$s_id"
set -- *
case $1 in
'*') s_k=${s_cg%/*}/sluice- && set -- "$s_p" ;;
*) s_k=${s_cg%.*}. && set -- ;;
esac
case $s_cg in ?*)
for s_k in "$s_k"*; do
if [ -d "$s_k" ]; then set -- "$s_k" "$@"; fi
done
;;
esac
case $# in 0) ;; *) rmdir "$@" 2>/dev/null ;; esac
return 0
}
s_ack() {
while read -r s_k s_a; do
case $s_k in ack) s_remove && exit 0 ;; esac
done
exit 0
}
s_join() {
s_i=0
while :; do
s_g= s_ge=
if [ -f gate ]; then read -r s_g s_ge <gate; fi
case $s_g in
started) return ;;
revoked) s_frame revoked && s_ack ;;
esac
if [ ! . -ef "$s_here" ]; then return 1; fi
s_i=$((s_i + 1))
if [ $s_i -gt 25 ]; then
case $s_mode in run) s_k=reset ;; *) s_k=revoked ;; esac
if s_take $s_k; then
case $s_mode in run) s_remove && return 1 ;; esac
continue
elif [ $s_i -gt 50 ]; then
if [ ! -f gate ]; then exit 1; fi
if [ -p live ]; then
exec 9<>live 8<live
exec 9>&-
read -r s_k <&8
exec 8<&-
fi
read -r s_g s_ge <gate
case $s_g in started) return ;; esac
s_frame revoked
s_ack
fi
fi
sleep 0.2 2>/dev/null || sleep 1
done
}
s_prepare() {
s_pad=................................................................
mkfifo live ctl o e $s_in 2>/dev/null &&
s_w "$s_pad$s_pad$s_pad$s_pad$s_nl" >result && s_w '' >out && s_w '' >err && s_w '' >steps &&
exec 7<>ctl 9<>live 8<live && return
s_e=$(mkfifo why 2>&1 && cat /proc/self/status 2>&1 >why2)
s_take revoked
s_frame "fail prepare ${s_e%%$s_nl*}"
s_ack
}
s_go() {
s_frame new
s_k=
read -r s_k
case $s_k in
go)
if s_take "started $s_epoch"; then
sync gate . .. 2>/dev/null || sync
return
fi
;;
*)
if s_take reset; then
s_remove
s_frame revoked
exit 0
fi
;;
esac
if [ -f gate ] && [ ! -s gate ]; then sleep 1; fi
if [ . -ef "$s_here" ] && [ ! -s gate ]; then
s_frame 'fail prepare the disk is full'
s_ack
fi
s_frame gone
exit 0
}
s_step() {
s_name=$1
shift
if [ -f killed ]; then return 1; fi
read -r s_b s_x </proc/uptime
(
exec 7>&-
case $s_pty in '') trap - HUP ;; esac
trap - TERM INT PIPE
case $s_in in ?*) exec 0<>in ;; esac
umask $s_um
s_env "${s_name%%/*}"
cd -- "${HOME:-/}" >/dev/null 2>&1 || cd /
$s_do "$@"
)
s_c=$?
read -r s_t s_x </proc/uptime
s_i=$((s_i + 1))
echo "$s_i $s_name $s_c $s_b $s_t" >>steps
return $s_c
}
s_hooks() {
case $2 in '') return 0 ;; esac
if [ -d "$2" ] && { [ ! -r "$2" ] || [ ! -x "$2" ]; }; then
s_w "sluice: the hooks in $2 cannot be read$s_nl" >&2
s_step "$1" false
return
fi
s_k=${LC_ALL-} s_x=${LC_ALL+x} s_l= s_ph=$1 s_hd=$2
LC_ALL=C
for s_h in "$2"/*; do
case ${s_h##*/} in *[!A-Za-z0-9_.-]*) continue ;; esac
if [ -f "$s_h" ] && [ -x "$s_h" ]; then s_l="$s_l ${s_h##*/}"; fi
done
case $s_x in x) LC_ALL=$s_k ;; *) unset LC_ALL ;; esac
for s_h in $s_l; do
s_step "$s_ph/$s_h" $s_via "$s_hd/$s_h" || return
done
}
s_run() {
case $s_cg in ?*) echo 0 >$s_cg/cgroup.procs ;; esac 2>/dev/null
s_i=0
read -r s_b0 s_x </proc/uptime
s_hooks pre "$s_pre" && s_main && s_hooks post "$s_post"
s_c=$?
read -r s_t s_x </proc/uptime
echo "c=$s_c b=$s_b0 t=$s_t ." >rc
echo "r c=$s_c b=$s_b0 t=$s_t" >&7
}
s_pump() {
trap '' XFSZ
ulimit -c 0
ulimit -f $s_limit
cat >$2 7>&- || { echo "x $1" >&7 && cat >/dev/null 7>&-; }
echo "d $1" >&7
}
s_alarm() {
exec 9>&-
s_x=$!
trap '' TERM INT
trap 'case $! in "$s_x") ;; *) kill -9 $! ;; esac; exit 0' USR1
for s_k in $1; do
sleep $s_k 7>&- &
wait $!
echo "$2" >&7
done
}
s_super() {
case $s_tty in '')
(exec 9>&- <o && s_pump o out) &
(exec 9>&- <e && s_pump e err) &
;;
esac
s_tp=
case $s_timeout in ?*)
(s_alarm "$s_timeout" 'k timeout') &
s_tp=$!
;;
esac
s_rp= s_ends=oe
case $s_tty in '')
s_ends=
(exec 9>&- >o 2>e && s_run) &
s_rp=$!
;;
esac
s_wait || exit 0
s_w "$s_r${s_kill:+ k=$s_kill}${s_cut:+ x=$s_cut}${s_held:+ h=1}${s_left:+ l=$s_left} .$s_nl" 1<>result
case $s_tp in ?*) kill -USR1 $s_tp ;; esac
exec 9>&-
if [ -f orphan ]; then sync result . || sync; fi
}
s_alive() {
case $s_rp in '') return ;; esac
read -r s_x </proc/$s_rp/stat || return
case ${s_x##*') '} in [ZX]*) return 1 ;; esac
}
s_wait() {
s_r= s_kill= s_cut= s_held= s_left= s_at=
while :; do
s_k= s_a=
read -r s_k s_a <&7
case $s_k in
r) s_r=$s_a && read -r s_at s_x </proc/uptime ;;
R) s_rp=$s_a ;;
d) s_ends=$s_ends$s_a ;;
x) s_cut=$s_cut$s_a ;;
k)
case $s_r$s_kill in '')
s_kill=$s_a
case $s_a in timeout) s_tp= ;; esac
s_w '' >killed
s_slay
read -r s_at s_x </proc/uptime
(s_alarm '1 2 8' g) &
s_tp="$s_tp $!"
;;
esac
;;
g)
case $s_at in ?*)
read -r s_t s_x </proc/uptime
s_d=$((${s_t%.*} - ${s_at%.*}))
if [ $s_d -ge 2 ]; then
s_set=
s_holders
if [ -n "$s_set" ] || [ $s_d -ge 10 ]; then
s_held=1
return
fi
fi
;;
*)
s_alive || echo z >&7
;;
esac
;;
z) case $s_r$s_kill in '') return 1 ;; esac ;;
esac
case $s_ends in ??) case $s_r$s_kill in ?*) return ;; esac ;; esac
done
}
s_holders() {
s_k=
s_ls=$(ls -ln /proc/[0-9]*/fd 2>/dev/null | grep -F -e '/fd:' -e "> $s_here/o" -e "> $s_here/e")
s_ifs=$IFS
IFS=$s_nl
for s_l in $s_ls; do
case $s_l in
/proc/*/fd:) s_k=${s_l#/proc/} && s_k=${s_k%%/*} ;;
l?w*'-> '*)
s_x=${s_l%%' -> '*}
s_x=/proc/$s_k/fd/${s_x##* }
if [ "$s_x" -ef o ] || [ "$s_x" -ef e ]; then s_set="$s_set$s_k "; fi
;;
esac
done
IFS=$s_ifs
}
s_scan() {
s_all=$(grep -E '^(State|PPid|NSsid):' /proc/[0-9]*/status 2>/dev/null)
s_set=" $s_rp$s_pids "
case $s_cg in ?*)
for s_x in "${s_cg%.*}".*/cgroup.procs; do
while read -r s_k; do s_set="$s_set$s_k "; done <"$s_x"
done
;;
esac 2>/dev/null
for s_k in $(grep -lF "SLUICE_MARK=$s_id." /proc/[0-9]*/environ 2>/dev/null); do
s_k=${s_k#/proc/}
s_set="$s_set${s_k%%/*} "
done
s_holders
read -r s_me s_x </proc/self/stat
s_own=" $$ $PPID $s_me " s_live=' '
s_close s_ours
s_close s_theirs
s_pids=
for s_k in $s_live; do
case $s_own in *" $s_k "*) ;; *) s_pids="$s_pids $s_k" ;; esac
done
}
s_close() {
s_more=1
while [ -n "$s_more" ]; do
s_more= s_q= s_y=
for s_k in $s_all; do
case $s_k in
/proc/*/status:State:) s_q=${s_k#/proc/} && s_q=${s_q%%/*} && s_y=state ;;
/proc/*/status:PPid:) s_y=ppid ;;
/proc/*/status:NSsid:) s_y=sid ;;
*)
case $s_y in
state) s_st=$s_k ;;
ppid) s_pp=$s_k ;;
sid)
s_sid=$s_k
case $s_st$s_live$s_own in [ZX]* | *" $s_q "*) ;; *) $1 ;; esac
;;
esac
s_y=
;;
esac
done
done
}
s_ours() {
case $s_q in "$s_rp") return ;; esac
case $s_pp in $PPID) return ;; esac
case $s_own in *" $s_pp "*) s_own="$s_own$s_q " s_more=1 ;; esac
}
s_theirs() {
case $s_set in *" $s_q "*) s_live="$s_live$s_q " s_more=1 && return ;; esac
case $s_live in *" $s_pp "*) s_live="$s_live$s_q " s_more=1 && return ;; esac
case $s_rp:$s_sid in ?*:$$ | ?*:"$s_par") s_live="$s_live$s_q " s_more=1 ;; esac
}
s_slay() {
s_pids=
s_scan
case $s_pids in ?*) kill -TERM $s_pids ;; esac
s_i=0
while [ $s_i -lt 20 ]; do
case $s_pids in '') break ;; esac
sleep 0.1 7>&- 9>&- || sleep 1 7>&- 9>&-
s_scan
s_i=$((s_i + 1))
done
s_i=0 s_z=0
while [ $s_i -lt 40 ]; do
case $s_pids in
'') s_z=$((s_z + 1)) ;;
*)
s_z=0
if [ -f "$s_cg/cgroup.kill" ]; then
echo 1 >$s_cg/cgroup.kill
elif [ -f "$s_cg/freezer.state" ]; then
echo FROZEN >$s_cg/freezer.state
s_scan
fi
kill -KILL $s_pids
if [ -f "$s_cg/freezer.state" ]; then echo THAWED >$s_cg/freezer.state; fi
sleep 0.1 7>&- 9>&- || sleep 1 7>&- 9>&-
;;
esac
s_scan
case $s_z in 2) break ;; esac
s_i=$((s_i + 1))
done
s_left=
for s_k in $s_pids; do s_left=$s_left${s_left:+,}$s_k; done
}
s_stream() {
while read -r s_k <&5; do s_frame "s $s_k"; done
s_a= s_b=
if [ -s out ] && { [ $1 = all ] || [ ! m$$ -nt out ]; }; then s_a=1; fi
if [ -s err ] && { [ $1 = all ] || [ ! m$$ -nt err ]; }; then s_b=1; fi
case $1 in new) s_w '' >m$$ ;; esac
case $s_a in 1) s_piece 3 o ;; esac
case $s_b in 1) s_piece 4 e ;; esac
}
s_piece() {
read -r s_x s_k </proc/self/fdinfo/$1
while :; do
s_frame "$2 $s_k"
dd bs=65536 count=4 <&$1 2>/dev/null
s_l=$s_k
read -r s_x s_k </proc/self/fdinfo/$1
s_frame ". $s_k"
if [ $((s_k - s_l)) -lt 262144 ]; then return; fi
done
}
s_seek() {
case $2 in 0) return ;; esac
dd bs=1 skip=$(($2 % 65536)) count=0 <&$1 2>/dev/null
case $(($2 / 65536)) in 0) ;; *) dd bs=65536 skip=$(($2 / 65536)) count=0 <&$1 2>/dev/null ;; esac
}
s_follow() {
exec 3<out 4<err 5<steps
s_seek 3 $s_oo
s_seek 4 $s_oe
s_stream new
while read -r s_k <&8; do s_stream new; done
s_stream all
for s_k in result rc; do
s_l=
if [ -f $s_k ]; then read -r s_l <$s_k; fi
case $s_l in *' .') s_frame "end $s_l" && return ;; esac
done
case $s_ge in
"$s_epoch")
s_rp= s_pids=
s_scan
s_frame "lost$s_pids"
;;
*) s_frame boot ;;
esac
}
s_terminal() {
exec 2>&1
s_frame tty
stty sane
(
exec 8<&-
read -r s_k s_x </proc/self/stat
echo "R $s_k" >&7
s_run
)
stty raw -echo
}
s_listen() {
while IFS= read -r s_l || { [ $? -gt 128 ] && [ -n "$s_ign" ]; }; do
case $s_l in
t)
echo >live
echo g >&7
;;
'k '*) echo "$s_l" >&7 ;;
'p '*) s_w "${s_l#p }$s_nl" 1<>in ;;
ack)
s_remove
exit 0
;;
esac
s_l=
done
case $s_fp in ?*) kill -9 $s_fp ;; esac
s_w '' >orphan
s_l=
read -r s_l <result
case $s_l in *' .') sync result . || sync ;; esac
exit 0
}
s_put() {
case $s_uid in '') exit 1 ;; esac
cd -P -- "$s_p" && [ -O . ] && [ ! -L "$s_id" ] && cd -P -- "$s_id" && [ ! -e gate ] || s_fail 'put no attempt waits for it'
s_frame ready
exec 6>blob
s_e=$(cat 2>&1 >&6) || s_fail "put ${s_e%%$s_nl*}"
s_k=0 s_l=
read -r s_x s_k </proc/self/fdinfo/6
exec 6>&-
if [ $s_k -ge 8388608 ]; then
s_l=$(openssl dgst -sha256 -r <blob 2>/dev/null)
s_l=${s_l%%[!0-9a-f]*}
fi
case ${#s_l} in 64) ;; *) s_l=$(sha256sum <blob 2>/dev/null || cksum <blob 2>&1) ;; esac
s_frame "sum ${s_l%%$s_nl*}"
exit 0
}
s_fp= s_cg=
s_who
case $s_mode in put) s_put ;; esac
s_group
trap "$s_ign" HUP TERM INT PIPE
while :; do
s_enter
s_g=started s_ge=$s_epoch
case $s_new$s_mode in
1run)
s_prepare
s_go
(exec </dev/null >/dev/null 2>&1 8<&- && s_super) &
exec 9>&-
break
;;
1*)
s_take revoked || continue
s_frame revoked
s_ack
;;
*)
if [ -d "$s_cg" ]; then rmdir "$s_cg"; fi
s_join || continue
s_frame old
exec 7<>ctl 9<>live 8<live 9>&-
break
;;
esac
done
case $s_tty$s_new in
11) s_terminal && s_follow ;;
*)
s_follow &
s_fp=$!
;;
esac
s_listen
exit 0
}
