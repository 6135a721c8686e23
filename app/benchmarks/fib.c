/* fib N: the load query's calculation in C. Prints the result and the CPU seconds that it took. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int fib(int n)
{
    return n < 2 ? n : (fib(n - 1) + fib(n - 2)) % 10037;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 37;
    clock_t start = clock();
    int result = fib(n);
    printf("%d %f\n", result, (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
